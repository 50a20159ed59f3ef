import SwiftASN1

extension X509SVID {
    /// Reads an X509-SVID from PEM, for programs that are given files.
    ///
    /// - Parameters:
    ///   - certificatesPEM: `CERTIFICATE` blocks, the leaf first; other blocks are passed over.
    ///   - privateKeyPEM: One `PRIVATE KEY` block (PKCS#8, unencrypted); may be the same text.
    ///   - hint: What the operator says the identity is for; empty when nothing.
    /// - Throws: ``X509SVIDError`` with the first rule broken.
    public init(
        certificatesPEM: String, privateKeyPEM: String, hint: String = ""
    ) throws(X509SVIDError) {
        let certificates = try PEMBlocks.certificates(certificatesPEM)
        let keys = try PEMBlocks.parse(privateKeyPEM).filter { $0.discriminator == "PRIVATE KEY" }
        guard let key = keys.first, keys.count == 1 else {
            throw X509SVIDError(
                .malformedPrivateKey,
                "\(keys.count) blocks \"PRIVATE KEY\" found; expected one, unencrypted PKCS#8")
        }
        try self.init(certificates: certificates, privateKeyPKCS8DER: key.derBytes, hint: hint)
    }

    /// The chain as `CERTIFICATE` blocks, the leaf first.
    public var certificatesPEM: String { PEMBlocks.text("CERTIFICATE", self.certificateChainDER) }

    /// The private key as one `PRIVATE KEY` block. A secret: never log it, and write it to files that only
    /// their owner can read.
    public var privateKeyPEM: String { PEMBlocks.text("PRIVATE KEY", [self.privateKeyDER]) }
}

extension X509Bundle {
    /// Reads authorities from PEM.
    ///
    /// - Parameters:
    ///   - trustDomain: The trust domain whose SVIDs the authorities vouch for.
    ///   - pem: `CERTIFICATE` blocks; other blocks are passed over. None is allowed: nothing is trusted
    ///     then.
    /// - Throws: ``X509SVIDError`` `malformedCertificate`.
    public init(trustDomain: TrustDomain, pem: String) throws(X509SVIDError) {
        try self.init(trustDomain: trustDomain, authoritiesDER: try PEMBlocks.certificates(pem))
    }

    /// The authorities as `CERTIFICATE` blocks; empty when there are none.
    public var pem: String { PEMBlocks.text("CERTIFICATE", self.authoritiesDER) }
}

/// PEM (RFC 7468) as a list of blocks.
enum PEMBlocks {
    static func parse(_ text: String) throws(X509SVIDError) -> [PEMDocument] {
        do {
            return try PEMDocument.parseMultiple(pemString: text)
        } catch {
            // The cause may quote what was read, a key among others; it is left out.
            throw X509SVIDError(.malformedCertificate, "text of \(text.utf8.count) bytes is no PEM")
        }
    }

    static func certificates(_ text: String) throws(X509SVIDError) -> [[UInt8]] {
        try self.parse(text).filter { $0.discriminator == "CERTIFICATE" }.map(\.derBytes)
    }

    static func text(_ type: String, _ documents: [[UInt8]]) -> String {
        documents.map { PEMDocument(type: type, derBytes: $0).pemString + "\n" }.joined()
    }
}
