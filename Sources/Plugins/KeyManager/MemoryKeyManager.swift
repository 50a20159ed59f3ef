import NIOConcurrencyHelpers
package import PluginAPI

/// Keeps keys in memory only: every start has new authorities.
package final class MemoryKeyManager: KeyManager {
    private let keys = NIOLockedValueBox<[String: ManagedKey]>([:])

    package init() {}

    package func generateKey(id: String, type: KeyType) async throws -> ManagedKey {
        let key = try ManagedKey(id: id, type: type, privateKey: type.generatePrivateKey())
        self.keys.withLockedValue { $0[id] = key }
        return key
    }

    package func key(id: String) async throws -> ManagedKey? {
        self.keys.withLockedValue { $0[id] }
    }

    package func keyIDs() async throws -> [String] {
        self.keys.withLockedValue { Array($0.keys) }
    }

    package func deleteKey(id: String) async throws { self.keys.withLockedValue { $0[id] = nil } }
}
