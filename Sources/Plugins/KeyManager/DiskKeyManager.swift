import CPeer
import Crypto
import CryptoExtras
import Foundation
import NIOConcurrencyHelpers
package import PluginAPI
import SwiftASN1
import X509

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Keeps keys in one JSON file, `{"keys":{"<id>":"<base64 PKCS#8>"}}`, mode 0600.
///
/// The file is replaced as a whole: written beside, synced, renamed, and the folder synced, so that after a
/// crash it holds either the old keys or the new. A file that others may read is refused.
package final class DiskKeyManager: KeyManager {
    private struct KeyFile: Codable {
        var keys: [String: String]
    }

    private struct State {
        var keys: [String: ManagedKey]
        var encoded: [String: String]
    }

    private let path: String
    private let state: NIOLockedValueBox<State>

    /// Reads the file; a missing one means no keys yet.
    ///
    /// - Parameter path: The file; its folder must exist.
    /// - Throws: ``KeyManagerError`` `unreadable` naming the file and what is wrong with it.
    package init(path: String) throws {
        self.path = path
        var state = State(keys: [:], encoded: [:])
        if let data = try Self.read(path) {
            let file: KeyFile
            do {
                file = try JSONDecoder().decode(KeyFile.self, from: data)
            } catch {
                throw KeyManagerError(
                    .unreadable,
                    "key file \(path) is not of the form {\"keys\":{id: base64}}; restore it or move it away"
                )
            }
            for (id, text) in file.keys {
                guard let der = Data(base64Encoded: text),
                    let key = try? Self.key(id: id, der: [UInt8](der))
                else {
                    throw KeyManagerError(
                        .unreadable,
                        "key \"\(id.prefix(64))\" in \(path) is not a base64 PKCS#8 private key; restore the file"
                    )
                }
                state.keys[id] = key
                state.encoded[id] = text
            }
        }
        self.state = NIOLockedValueBox(state)
    }

    package func generateKey(id: String, type: KeyType) async throws -> ManagedKey {
        let key = try ManagedKey(id: id, type: type, privateKey: type.generatePrivateKey())
        let pkcs8: Data
        do { pkcs8 = try Self.pkcs8(key) } catch {
            throw KeyManagerError(.generation, "cannot encode new key \(id): \(error)")
        }
        // The lock is held across the write, so that two new keys never overwrite each other's file.
        try self.state.withLockedValue { state in
            var encoded = state.encoded
            encoded[id] = pkcs8.base64EncodedString()
            try Self.replace(self.path, with: Self.json(encoded))
            state.encoded = encoded
            state.keys[id] = key
        }
        return key
    }

    package func key(id: String) async throws -> ManagedKey? {
        self.state.withLockedValue { $0.keys[id] }
    }

    package func keyIDs() async throws -> [String] {
        self.state.withLockedValue { Array($0.keys.keys) }
    }

    package func deleteKey(id: String) async throws {
        try self.state.withLockedValue { state in
            guard state.encoded[id] != nil else { return }
            var encoded = state.encoded
            encoded[id] = nil
            try Self.replace(self.path, with: Self.json(encoded))
            state.encoded = encoded
            state.keys[id] = nil
        }
    }

    private static func json(_ keys: [String: String]) throws -> Data {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
            return try encoder.encode(KeyFile(keys: keys))
        } catch {
            throw KeyManagerError(.notStored, "cannot encode key file: \(error)")
        }
    }

    /// The key as PKCS#8; RSA keys come out of the certificate library as PKCS#1.
    private static func pkcs8(_ key: ManagedKey) throws -> Data {
        let der = Data(try key.privateKey.serializeAsPEM().derBytes)
        switch key.type {
        case .ecP256, .ecP384, .ed25519: return der
        case .rsa2048, .rsa4096:
            return try _RSA.Signing.PrivateKey(derRepresentation: der).pkcs8DERRepresentation
        }
    }

    private static func key(id: String, der: [UInt8]) throws -> ManagedKey {
        let privateKey = try Certificate.PrivateKey(
            pemDocument: PEMDocument(type: "PRIVATE KEY", derBytes: der))
        let key = try ManagedKey(id: id, type: .ed25519, privateKey: privateKey)
        guard key.ed25519PublicKey == nil else { return key }
        return try ManagedKey(id: id, type: keyType(of: der), privateKey: privateKey)
    }

    private static func keyType(of der: [UInt8]) throws -> KeyType {
        if (try? P256.Signing.PrivateKey(derRepresentation: der)) != nil { return .ecP256 }
        if (try? P384.Signing.PrivateKey(derRepresentation: der)) != nil { return .ecP384 }
        let rsa = try _RSA.Signing.PrivateKey(derRepresentation: der)
        return rsa.keySizeInBits > 2048 ? .rsa4096 : .rsa2048
    }

    private static func read(_ path: String) throws -> Data? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw KeyManagerError(
                .unreadable, "cannot read key file \(path): \(String(cString: strerror(errno)))")
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var facts = cygnet_file_facts()
        guard cygnet_read_file_facts(descriptor, &facts) == 0,
            facts.mode & UInt32(S_IFMT) == UInt32(S_IFREG), facts.size <= 1 << 20
        else {
            throw KeyManagerError(
                .unreadable, "key file \(path) is not a regular file of at most 1 MiB")
        }
        if facts.mode & 0o077 != 0 {
            throw KeyManagerError(
                .unreadable, "key file \(path) is open to others; run: chmod 600 \(path)")
        }
        do { return try handle.readToEnd() ?? Data() } catch {
            throw KeyManagerError(.unreadable, "cannot read key file \(path): \(error)")
        }
    }

    private static func replace(_ path: String, with data: Data) throws {
        func failed(_ what: String) -> KeyManagerError {
            KeyManagerError(
                .notStored, "cannot \(what) key file \(path): \(String(cString: strerror(errno)))")
        }
        let temporary = path + ".tmp"
        unlink(temporary)
        let descriptor = open(
            temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failed("create") }
        var done = false
        defer {
            close(descriptor)
            if !done { unlink(temporary) }
        }
        let written = data.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let count = write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return false }
                offset += count
            }
            return true
        }
        guard written, fsync(descriptor) == 0 else { throw failed("write") }
        guard rename(temporary, path) == 0 else { throw failed("replace") }
        done = true
        let folder = open(
            (path as NSString).deletingLastPathComponent.isEmpty
                ? "." : (path as NSString).deletingLastPathComponent, O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}
