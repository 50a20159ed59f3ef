import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOConcurrencyHelpers
public import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// The WIT profile (Workload API §7). Incubating, and optional for servers: one that answers
/// `notSupported` once is not asked again by this client; its other profiles are not affected.
extension WorkloadAPIClient {
    /// Asks for the WIT-SVIDs of this process with their keys, once; the first is the default identity.
    ///
    /// - Parameter id: Only this identity; nil for all.
    /// - Throws: ``WorkloadAPIError``; `notSupported` when the server has no WIT profile, `noIdentity` also
    ///   when the identity named is not one of this process.
    public func fetchWITSVIDs(
        id: SPIFFEID? = nil
    ) async throws(WorkloadAPIError) -> [SPIFFE.WITSVID] {
        let request = Self.request(id)
        let message = try await self.whileOffered {
            () async throws(WorkloadAPIError) -> WorkloadAPIProto.WITSVIDResponse in
            try await self.call("FetchWITSVID") { api, options in
                try await api.fetchWITSVID(request, options: options) { try await Self.first($0) }
            }
        }
        return try Self.svids(message, id)
    }

    /// Asks for the WIT bundles that this process may verify peers with, once.
    ///
    /// - Throws: ``WorkloadAPIError``; `notSupported` when the server has no WIT profile.
    public func fetchWITBundles() async throws(WorkloadAPIError) -> WITBundleSet {
        try WITMessages.bundles(
            try await self.whileOffered {
                () async throws(WorkloadAPIError) -> WorkloadAPIProto.WITBundlesResponse in
                try await self.call("FetchWITBundles") { api, options in
                    try await api.fetchWITBundles(.init(), options: options) {
                        try await Self.first($0)
                    }
                }
            })
    }

    /// Holds the stream of WIT-SVIDs; rules as ``watchX509Context(onUpdate:onError:)``.
    ///
    /// - Parameters:
    ///   - id: Only this identity; nil for all.
    ///   - onUpdate: Told each state; it replaces the one before it whole. Must not block.
    ///   - onError: Told each failure. Must not block.
    public func watchWITSVIDs(
        id: SPIFFEID? = nil, onUpdate: @escaping @Sendable ([SPIFFE.WITSVID]) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void = { _ in }
    ) async throws(WorkloadAPIError) {
        let request = Self.request(id)
        try await self.whileOffered { () async throws(WorkloadAPIError) in
            try await self.watch("FetchWITSVID", onError) { api, options, received in
                try await api.fetchWITSVID(request, options: options) { response in
                    for try await message in response.messages {
                        received { () throws(WorkloadAPIError) in
                            onUpdate(try Self.svids(message, id))
                        }
                    }
                }
            }
        }
    }

    /// Holds the stream of WIT bundles; rules as ``watchX509Context(onUpdate:onError:)``.
    public func watchWITBundles(
        onUpdate: @escaping @Sendable (WITBundleSet) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void = { _ in }
    ) async throws(WorkloadAPIError) {
        try await self.whileOffered { () async throws(WorkloadAPIError) in
            try await self.watch("FetchWITBundles", onError) { api, options, received in
                try await api.fetchWITBundles(.init(), options: options) { response in
                    for try await message in response.messages {
                        received { () throws(WorkloadAPIError) in
                            onUpdate(try WITMessages.bundles(message))
                        }
                    }
                }
            }
        }
    }

    private static func request(_ id: SPIFFEID?) -> WorkloadAPIProto.WITSVIDRequest {
        WorkloadAPIProto.WITSVIDRequest.with { $0.spiffeID = id?.string ?? "" }
    }

    private static func svids(
        _ message: WorkloadAPIProto.WITSVIDResponse, _ id: SPIFFEID?
    ) throws(WorkloadAPIError) -> [SPIFFE.WITSVID] {
        let svids = try WITMessages.svids(message)
        if let id, let other = svids.first(where: { $0.id != id }) {
            throw WorkloadAPIError(message: "asked for a WIT-SVID of \(id), got one of \(other.id)")
        }
        return svids
    }

    /// Runs the body unless the server has said that it has no WIT profile, and notes when it says so.
    private func whileOffered<Value: Sendable>(
        _ body: () async throws(WorkloadAPIError) -> Value
    ) async throws(WorkloadAPIError) -> Value {
        if let refusal = self.witRefusal.withLockedValue({ $0 }) { throw refusal }
        do throws(WorkloadAPIError) {
            return try await body()
        } catch {
            if error.code == .notSupported { self.witRefusal.withLockedValue { $0 = error } }
            throw error
        }
    }
}
