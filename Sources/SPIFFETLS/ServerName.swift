import NIOCore
package import NIOSSL
import SwiftASN1
package import X509

/// The name by which a server of the Web PKI is known, held against its certificate (RFC 9525 §6).
///
/// NIOSSL also accepts a certificate for the IP address that a name led to. Whoever answers for a name in the DNS chooses
/// that address, so such a certificate says nothing about the name.
package struct ServerName: Sendable, Hashable {
    /// Lower case, without the dot at the end; or an IP address.
    let text: String
    let isAddress: Bool

    /// - Parameter host: A name, or an IP address without brackets.
    package init(host: String) {
        self.isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        let name = host.hasSuffix(".") ? String(host.dropLast()) : host
        self.text = self.isAddress ? host : name.lowercased()
    }

    /// Whether the certificate is for this name: by a DNS name in its subject alternative names that is equal, or whose
    /// first label is `*` and stands for one label. Addresses are compared by NIOSSL.
    package func isNamed(by certificate: Certificate) -> Bool {
        guard !self.isAddress else { return true }
        guard let names = try? certificate.extensions.subjectAlternativeNames else { return false }
        return names.contains { name in
            guard case .dnsName(let presented) = name else { return false }
            return self.matches(presented)
        }
    }

    func matches(_ presented: String) -> Bool {
        var pattern = presented.lowercased()[...]
        if pattern.last == "." { pattern = pattern.dropLast() }
        guard pattern.hasPrefix("*.") else { return !pattern.isEmpty && pattern == self.text }
        guard let dot = self.text.firstIndex(of: "."), dot != self.text.startIndex else {
            return false
        }
        let rest = pattern.dropFirst(1)
        return rest.dropFirst().contains(".") && self.text[dot...] == rest
    }

    /// The handler for one connection: NIOSSL's verification, and then the name.
    ///
    /// - Parameter context: Verifies certificates in full.
    /// - Throws: NIOSSL's reason for refusing the name.
    package func makeHandler(context: NIOSSLContext) throws -> NIOSSLClientHandler {
        // An address is no server name (RFC 6066 §3); without one NIOSSL compares the address that it is connected to.
        try NIOSSLClientHandler._makeSSLClientHandler(
            context: context, serverHostname: self.isAddress ? nil : self.text
        ) { shown, channel in
            channel.eventLoop.makeCompletedFuture {
                let certificate = try Certificate(derEncoded: try shown.toDERBytes())
                guard self.isNamed(by: certificate) else { throw WrongServerName() }
            }
        }
    }
}

/// A certificate that leads to a trusted authority and is for another name.
struct WrongServerName: Error {}
