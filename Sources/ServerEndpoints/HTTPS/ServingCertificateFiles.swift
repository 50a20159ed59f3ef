import Foundation
package import Logging
import NIOConcurrencyHelpers
package import NIOSSL
package import ServerCore
import SwiftASN1
import X509

/// Profile `https_web`: a certificate and its key in two PEM files that somebody else renews.
///
/// The files are looked at now and then. A new pair counts from the next connection on; a pair that cannot be used is
/// reported once, and the one before it serves on.
package final class ServingCertificateFiles: ServingCertificate {
    /// Larger files are refused.
    private static let maximumBytes = 1 << 20

    private struct Loaded {
        let certificate: Data
        let key: Data
        let context: NIOSSLContext
    }

    private struct State {
        var loaded: Loaded
        /// The last complaint, so that it is not repeated.
        var complaint: String?
    }

    private let certificatePath: String
    private let keyPath: String
    private let interval: Duration
    private let logger: Logger
    private let state: NIOLockedValueBox<State>

    /// Reads the files for the first time.
    ///
    /// - Parameters:
    ///   - certificatePath: PEM: the certificate first, then those that lead to its root.
    ///   - keyPath: PEM: its private key, without a passphrase.
    ///   - interval: How often ``run()`` looks for new files.
    ///   - logger: Told of new pairs and of bad ones.
    /// - Throws: ``ServerError`` `failedPrecondition` naming the file and what is wrong with it.
    package init(
        certificatePath: String, keyPath: String, interval: Duration, logger: Logger
    ) throws(ServerError) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.interval = interval
        self.logger = logger
        let (certificate, key) = try Self.read(certificatePath, keyPath)
        let loaded = try Self.load(certificate, key, certificatePath, keyPath)
        self.state = NIOLockedValueBox(State(loaded: loaded))
    }

    package func context() -> NIOSSLContext { self.state.withLockedValue { $0.loaded.context } }

    /// Looks for new files until cancelled.
    package func run() async throws {
        while true {
            try await Task.sleep(for: self.interval)
            self.reload()
        }
    }

    /// Takes the files as they are now, when they have changed and can be used.
    ///
    /// - Returns: Whether there is a new certificate.
    @discardableResult
    package func reload() -> Bool {
        do throws(ServerError) {
            let (certificate, key) = try Self.read(self.certificatePath, self.keyPath)
            let isSame = self.state.withLockedValue { state in
                let isSame = state.loaded.certificate == certificate && state.loaded.key == key
                if isSame { state.complaint = nil }
                return isSame
            }
            if isSame { return false }
            let loaded = try Self.load(certificate, key, self.certificatePath, self.keyPath)
            self.state.withLockedValue { $0 = State(loaded: loaded) }
            self.logger.info(
                "serving certificate reloaded", metadata: ["path": "\(self.certificatePath)"])
            return true
        } catch {
            let isNew = self.state.withLockedValue { state in
                defer { state.complaint = error.message }
                return state.complaint != error.message
            }
            if isNew {
                self.logger.error(
                    "cannot use the new serving certificate; the one before it serves on",
                    metadata: [LogKeys.error: "\(error.message)"])
            }
            return false
        }
    }

    // MARK: Files

    private static func read(
        _ certificatePath: String, _ keyPath: String
    ) throws(ServerError) -> (certificate: Data, key: Data) {
        (try self.bytes(certificatePath), try self.bytes(keyPath))
    }

    private static func bytes(_ path: String) throws(ServerError) -> Data {
        let data: Data
        do {
            // No more than the limit is ever read, whatever the path leads to.
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? file.close() }
            data = try file.read(upToCount: self.maximumBytes + 1) ?? Data()
        } catch {
            throw ServerError(
                .failedPrecondition,
                "cannot read \(quoted(path)): \((error as NSError).localizedDescription)")
        }
        guard data.count <= self.maximumBytes else {
            throw ServerError(
                .failedPrecondition,
                "\(quoted(path)) has more than \(self.maximumBytes) bytes; expected a PEM file")
        }
        return data
    }

    private static func load(
        _ certificate: Data, _ key: Data, _ certificatePath: String, _ keyPath: String
    ) throws(ServerError) -> Loaded {
        let leaf: Certificate
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMBytes(Array(certificate))
            guard let first = chain.first else { throw NIOSSLError.failedToLoadCertificate }
            leaf = try Certificate(derEncoded: try first.toDERBytes())
        } catch {
            throw ServerError(
                .failedPrecondition,
                "\(quoted(certificatePath)) has no certificate that can be read; expected PEM, the server's "
                    + "certificate first")
        }
        let privateKey: NIOSSLPrivateKey
        do {
            privateKey = try NIOSSLPrivateKey(bytes: Array(key), format: .pem)
        } catch {
            throw ServerError(
                .failedPrecondition,
                "\(quoted(keyPath)) has no private key that can be read; expected PEM without a passphrase"
            )
        }
        guard self.publicKey(of: key).map({ $0 == leaf.publicKey }) ?? true else {
            throw ServerError(
                .failedPrecondition,
                "the key in \(quoted(keyPath)) is not that of the certificate in \(quoted(certificatePath))"
            )
        }
        do {
            return Loaded(
                certificate: certificate, key: key,
                context: try ServingTLS.context(
                    chain: chain.map { .certificate($0) }, key: .privateKey(privateKey)))
        } catch {
            throw ServerError(
                .failedPrecondition,
                "\(quoted(certificatePath)) and \(quoted(keyPath)) cannot be used together: \(error)"
            )
        }
    }

    /// The public half of a private key in PEM; nil for a kind that only BoringSSL knows, which then compares.
    private static func publicKey(of pem: Data) -> Certificate.PublicKey? {
        guard let text = String(data: pem, encoding: .utf8),
            let documents = try? PEMDocument.parseMultiple(pemString: text),
            let document = documents.first(where: { $0.discriminator.hasSuffix("PRIVATE KEY") }),
            let key = try? Certificate.PrivateKey(pemDocument: document)
        else { return nil }
        return key.publicKey
    }
}
