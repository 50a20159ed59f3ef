import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEFederation
import SPIFFETesting

/// Stands in for the client of bundle endpoints: answers with what it is told to, and notes how it was asked.
final class ScriptedEndpoints: Sendable {
    typealias Answer = Result<BundleEndpointResponse, BundleEndpointError>

    struct Asked: Sendable {
        let trustDomain: TrustDomain
        let entityTag: String?
        /// The authorities that the endpoint would have been verified with; nil for `https_web`.
        let authorities: X509Bundle?
    }

    private struct State {
        var answers: [TrustDomain: Answer] = [:]
        var asked: [Asked] = []
    }

    private let state = NIOLockedValueBox(State())

    var asked: [Asked] { self.state.withLockedValue { $0.asked } }

    func answer(_ trustDomain: TrustDomain, _ answer: Answer) {
        self.state.withLockedValue { $0.answers[trustDomain] = answer }
    }

    /// Lets the endpoint of a bundle's trust domain serve it.
    func serve(_ bundle: SPIFFEBundle, entityTag: String? = nil) throws {
        self.answer(
            bundle.trustDomain,
            .success(
                BundleEndpointResponse(
                    content: .bundle(bundle), entityTag: entityTag,
                    url: try BundleEndpointURL("https://\(bundle.trustDomain)/"))))
    }

    var fetch: FederatedBundleSource.Fetch {
        { endpoint, bundles, entityTag throws(BundleEndpointError) in
            let asked = Asked(
                trustDomain: endpoint.trustDomain, entityTag: entityTag,
                authorities: endpoint.endpointSPIFFEID.flatMap {
                    bundles.x509Bundle(for: $0.trustDomain)
                })
            let answer = self.state.withLockedValue { state in
                state.asked.append(asked)
                return state.answers[endpoint.trustDomain]
            }
            guard let answer else { throw BundleEndpointError.sample() }
            return try answer.get()
        }
    }

    /// Waits until an endpoint was asked so often.
    func asked(_ count: Int) async {
        while self.asked.count < count { await Task.yield() }
    }
}

extension BundleEndpointError {
    /// Some error.
    static func sample() -> BundleEndpointError {
        do {
            _ = try BundleEndpointURL("http://sample.test/")
        } catch {
            return error
        }
        preconditionFailure("a URL of plain HTTP was taken")
    }
}

/// Time that passes when the test says so.
final class ManualTime: Sendable {
    private struct State {
        var now = Date(timeIntervalSince1970: 1_800_000_000)
        var sleepers:
            [UInt64: (wait: Duration, continuation: CheckedContinuation<Void, any Error>)] =
                [:]
        var cancelled: Set<UInt64> = []
        var next: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

    var now: Date { self.state.withLockedValue { $0.now } }

    /// The waits that are under way, in the order in which they began.
    var waits: [Duration] {
        self.state.withLockedValue { state in
            state.sleepers.sorted { $0.key < $1.key }.map(\.value.wait)
        }
    }

    func sleep(_ wait: Duration) async throws {
        let key = self.state.withLockedValue { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isCancelled = self.state.withLockedValue { state in
                    if state.cancelled.remove(key) != nil { return true }
                    state.sleepers[key] = (wait, continuation)
                    return false
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            let continuation = self.state.withLockedValue { state in
                let sleeper = state.sleepers.removeValue(forKey: key)
                if sleeper == nil { state.cancelled.insert(key) }
                return sleeper?.continuation
            }
            continuation?.resume(throwing: CancellationError())
        }
    }

    /// Waits until so many sleep.
    func sleeping(_ count: Int) async {
        while self.waits.count != count { await Task.yield() }
    }

    /// Lets time pass and wakes all.
    func advance(_ seconds: Double) {
        let woken = self.state.withLockedValue { state in
            state.now += seconds
            defer { state.sleepers = [:] }
            return state.sleepers.values.map(\.continuation)
        }
        for continuation in woken { continuation.resume() }
    }
}
