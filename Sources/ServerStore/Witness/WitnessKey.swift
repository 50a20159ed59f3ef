import Crypto
import SPIFFE
import ServerCore
package import Transparency

/// The key that a witness cosigns with, in a file: `PRIVATE+KEY+<name>+<key ID>+<base64 of algorithm and seed>`, the form
/// in which tools for signed notes keep private keys.
package enum WitnessKey {
    static let path = "key"
    private static let maximumBytes = 4096
    private static let prefix = "PRIVATE+KEY+"

    /// The key in a witness's folder; nil when none was made yet.
    ///
    /// - Throws: ``ServerError`` that never shows the key.
    package static func read(folder: String) throws -> NoteSigner? {
        let storage: DiskStorage
        do throws(LedgerStorageError) {
            storage = try DiskStorage(folder: folder)
        } catch {
            throw ServerError(.unavailable, "cannot read the witness's key: \(error.message)")
        }
        return try self.read(storage, folder: folder)
    }

    /// The key, made when there is none.
    static func signer(
        _ storage: any LedgerStorage, name: NoteKeyName, folder: String
    ) throws -> NoteSigner {
        if let signer = try self.read(storage, folder: folder) {
            guard signer.key.name == name else {
                throw ServerError(
                    .failedPrecondition,
                    "the key in \(folder)/\(self.path) is that of \(signer.key.name), and the witness is named "
                        + "\(name): correct the name, or choose another folder")
            }
            return signer
        }
        guard try !storage.contains(WitnessFile.states) else {
            throw ServerError(
                .failedPrecondition,
                "\(folder) has what a witness remembers and no key; restore \(folder)/\(self.path)")
        }
        let seed = Array(Curve25519.Signing.PrivateKey().rawRepresentation)
        let signer = try NoteSigner(name: name, algorithm: .cosignature, seed: seed)
        try storage.replace(self.path, with: self.encode(signer.key, seed), isDurable: true)
        return signer
    }

    static func encode(_ key: VerifierKey, _ seed: [UInt8]) -> [UInt8] {
        let material = Base64.encode([key.algorithm.rawValue] + seed)
        return Array("\(self.prefix)\(key.name)+\(key.keyIDText)+\(material)\n".utf8)
    }

    private static func read(
        _ storage: any LedgerStorage, folder: String
    ) throws(ServerError) -> NoteSigner? {
        let bytes: [UInt8]?
        do throws(LedgerStorageError) {
            bytes = try storage.read(self.path, limit: self.maximumBytes)
        } catch {
            throw ServerError(.unavailable, "cannot read the witness's key: \(error.message)")
        }
        guard let bytes else { return nil }
        guard let signer = self.parse(bytes) else {
            throw ServerError(
                .failedPrecondition,
                "\(folder)/\(self.path) is no key of a witness, or is damaged; restore it from a copy"
            )
        }
        return signer
    }

    static func parse(_ bytes: [UInt8]) -> NoteSigner? {
        guard let text = String(validating: bytes, as: UTF8.self), text.hasPrefix(self.prefix),
            text.utf8.last == UInt8(ascii: "\n")
        else { return nil }
        let parts = text.dropFirst(self.prefix.count).dropLast().split(
            separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let name = try? NoteKeyName(String(parts[0])),
            let material = try? Base64.decode(String(parts[2])), material.count == 33,
            material.first == VerifierKey.Algorithm.cosignature.rawValue,
            let signer = try? NoteSigner(
                name: name, algorithm: .cosignature, seed: Array(material.dropFirst())),
            signer.key.keyIDText == parts[1]
        else { return nil }
        return signer
    }
}
