package import Foundation
import NIOConcurrencyHelpers
package import SPIFFE
import X509

/// What a source knows of SVIDs that were taken back: from the `crl` fields of X.509 messages, and from the agent's own
/// stream where it has one.
///
/// A list that cannot be read, or that nobody of its trust domain has signed, is left out and reported; the last good one
/// of the same issuer or name stays in force. Where there is none, the trust domain's news counts as missing from then
/// on. What was checked once is not checked again while its bytes stay the same.
///
/// A list that a message no longer has is dropped when the agent's own stream says what there is. Where only the fields
/// say it, it stays as long as its authority is in a bundle, and comes to be overdue: an agent leaves lists out that are
/// too long for a message.
package final class RevocationFeed: RevocationSource, Sendable {
    /// Reads a list.
    package typealias Reader =
        @Sendable ([UInt8]) throws(RevocationListError) -> CertificateRevocationList

    /// What has arrived, and what is remembered of it for the next round.
    private struct Inputs {
        var hasEnded = false
        /// The newest message of the stream; nil while there was none.
        var received: [TrustDomain: ReceivedRevocations]?
        /// A newer message of the stream could not be used.
        var lacksState = false
        var fieldLists: [[UInt8]] = []
        var x509Bundles = X509BundleSet()
        /// The chains of this process's own SVIDs above the leaf: authorities that bundles do not name.
        var x509Intermediates: [TrustDomain: X509Bundle] = [:]
        var jwtBundles = JWTBundleSet()
        /// The lists of before, by their bytes.
        var lists: [[UInt8]: CertificateRevocationList] = [:]
        /// What was made of the round before.
        var last: [TrustDomain: TrustDomainRevocations] = [:]
        var missingSince: [TrustDomain: Date] = [:]
        /// Good lists of the `crl` fields, for the next round.
        var fieldKnown: [CertificateRevocationList] = []
        var statusTokens: [String: StatusList] = [:]
    }

    /// Whoever writes holds this one, for as long as lists are read and signatures checked; nobody who verifies does.
    private let inputs = NIOLockedValueBox(Inputs())
    private let known = NIOLockedValueBox<[TrustDomain: TrustDomainRevocations]>([:])
    private let observers = RevocationObservers()
    private let onTrouble: @Sendable (WorkloadAPIError) -> Void
    private let read: Reader
    private let now: @Sendable () -> Date

    /// - Parameters:
    ///   - read: How a list is read.
    ///   - onTrouble: Told of each list that is not used.
    package init(
        now: @escaping @Sendable () -> Date = { Date() },
        read: @escaping Reader = { (der) throws(RevocationListError) in
            try CertificateRevocationList(der: der)
        },
        onTrouble: @escaping @Sendable (WorkloadAPIError) -> Void
    ) {
        self.now = now
        self.read = read
        self.onTrouble = onTrouble
    }

    // MARK: Reading

    package func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        self.known.withLockedValue { $0[trustDomain] }
    }

    package func observeRevocations(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.observers.add(onChange) }

    // MARK: Writing

    /// Takes a message about X.509: its bundles, the chains of own SVIDs and its `crl` field.
    package func update(_ context: X509Context) {
        self.update { state in
            state.x509Bundles = context.bundles
            state.x509Intermediates = Self.intermediates(context.svids)
            state.fieldLists = context.revocationLists
        }
    }

    func update(_ bundles: JWTBundleSet) { self.update { $0.jwtBundles = bundles } }

    /// Takes a message of the stream; it replaces the one before it whole.
    func update(_ received: [TrustDomain: ReceivedRevocations]) {
        self.update { state in
            state.received = received
            state.lacksState = false
        }
    }

    /// A message of the stream could not be used as a whole, such as one that is too long. What is known stays; where there
    /// is no list, the trust domain's news counts as missing from now on.
    func couldNotUseState() { self.update { $0.lacksState = true } }

    /// Knows nothing any more.
    package func end() {
        self.inputs.withLockedValue { inputs in
            inputs = Inputs()
            inputs.hasEnded = true
            self.known.withLockedValue { $0 = [:] }
        }
    }

    private static func intermediates(_ svids: [X509SVID]) -> [TrustDomain: X509Bundle] {
        var chains: [TrustDomain: [[UInt8]]] = [:]
        for svid in svids {
            chains[svid.id.trustDomain, default: []] += svid.certificateChainDER.dropFirst()
        }
        return chains.reduce(into: [:]) { result, chain in
            result[chain.key] = try? X509Bundle(
                trustDomain: chain.key, authoritiesDER: chain.value)
        }
    }

    private func update(_ change: (inout Inputs) -> Void) {
        let trouble = self.inputs.withLockedValue { inputs -> [WorkloadAPIError]? in
            guard !inputs.hasEnded else { return nil }
            change(&inputs)
            let trouble = self.rebuild(&inputs)
            self.known.withLockedValue { $0 = inputs.last }
            return trouble
        }
        guard let trouble else { return }
        for error in trouble { self.onTrouble(error) }
        self.observers.notify()
    }

    // MARK: Rules

    private func rebuild(_ state: inout Inputs) -> [WorkloadAPIError] {
        var trouble: [WorkloadAPIError] = []
        var lists: [[UInt8]: CertificateRevocationList] = [:]
        let before = state.lists
        /// Reads lists of one kind; those of before stay where a new one is bad.
        func read(
            _ raw: [[UInt8]], before last: [CertificateRevocationList], _ bundles: [X509Bundle]
        ) -> (good: [CertificateRevocationList], isWhole: Bool) {
            var good: [CertificateRevocationList] = []
            var isWhole = true
            for der in raw {
                do throws(RevocationListError) {
                    let list: CertificateRevocationList
                    if let known = before[der] ?? lists[der] {
                        list = known
                    } else {
                        list = try self.read(der)
                    }
                    guard Authorship(list, bundles) != .forged else {
                        throw RevocationListError.forged
                    }
                    lists[der] = list
                    good.append(list)
                } catch {
                    isWhole = false
                    trouble.append(.list("CRL", error))
                }
            }
            if !isWhole {
                for list in last where !Authorship.hasSuccessor(list, among: good, bundles) {
                    lists[list.der] = list
                    good.append(list)
                }
            }
            return (good, isWhole)
        }

        let bundles =
            Array(state.x509Bundles.bundles.values) + Array(state.x509Intermediates.values)
        var (fromFields, areFieldsWhole) = read(
            state.fieldLists, before: state.fieldKnown, bundles)
        if state.received == nil {
            for list in state.fieldKnown
            where !Authorship.hasSuccessor(list, among: fromFields, bundles)
                && Authorship(list, bundles) == .known
            {
                lists[list.der] = list
                fromFields.append(list)
            }
        }
        state.fieldKnown = fromFields

        var known: [TrustDomain: TrustDomainRevocations] = [:]
        var statusTokens: [String: StatusList] = [:]
        let received = state.received ?? [:]
        var trustDomains = Set(received.keys)
        if !fromFields.isEmpty || !areFieldsWhole || state.lacksState {
            trustDomains.formUnion(state.x509Bundles.bundles.keys)
        }
        var missingSince: [TrustDomain: Date] = [:]
        for trustDomain in trustDomains {
            let own = bundles.filter { $0.trustDomain == trustDomain }
            let now = received[trustDomain]
            let last = state.last[trustDomain]
            let (certificateLists, isWhole) = read(
                now?.certificateLists ?? [],
                before: now == nil ? [] : (last?.certificateLists ?? []), own)
            var statusLists: [StatusList] = []
            for (uri, token) in now?.statusLists ?? [] {
                do throws(RevocationListError) {
                    let list = try Self.statusList(
                        uri, token, state.jwtBundles.jwtBundle(for: trustDomain), state.statusTokens
                    )
                    statusTokens[token] = list
                    statusLists.append(list)
                } catch {
                    if let list = last?.statusLists[uri] { statusLists.append(list) }
                    // A program without JWT bundles has no use for status lists.
                    if state.jwtBundles.bundles.isEmpty { continue }
                    trouble.append(.list("status list", error))
                }
            }
            let all = certificateLists + fromFields
            // Asked only where something is amiss: it costs signature checks.
            if !(isWhole && areFieldsWhole) || state.lacksState,
                !Authorship.haveAll(own, signed: all)
            {
                missingSince[trustDomain] = state.missingSince[trustDomain] ?? self.now()
            }
            var entry = TrustDomainRevocations(
                trustDomain: trustDomain, certificateLists: all, statusLists: statusLists,
                revokedTokens: now?.revokedTokens ?? [])
            entry.missingSince = missingSince[trustDomain]
            known[trustDomain] = entry
        }
        state.missingSince = missingSince
        state.lists = lists
        state.statusTokens = statusTokens
        state.last = known
        return trouble
    }

    private static func statusList(
        _ uri: String, _ token: String, _ bundle: JWTBundle?, _ before: [String: StatusList]
    ) throws(RevocationListError) -> StatusList {
        if let list = before[token], list.uri.utf8.elementsEqual(uri.utf8) { return list }
        guard let bundle else { throw .noBundle }
        return try StatusList(token: token, uri: uri, bundle: bundle)
    }
}

/// Who has signed a CRL, as far as it can be told when it arrives.
private enum Authorship {
    /// An authority that is known.
    case known
    /// Somebody who is not known, such as an intermediate authority: it counts when a path has its issuer.
    case unknown
    /// Not the authority that it names.
    case forged

    init(_ list: CertificateRevocationList, _ bundles: some Sequence<X509Bundle>) {
        let named = Self.candidates(list, bundles)
        if named.isEmpty {
            self = .unknown
        } else {
            self = named.contains { list.isSigned(by: $0) } ? .known : .forged
        }
    }

    /// The authorities that may have signed a list. Of those of one bundle that have the same name and key ID there are few,
    /// and so are those without a key ID: each costs a signature check, and a bundle may have a thousand.
    private static func candidates(
        _ list: CertificateRevocationList, _ bundles: some Sequence<X509Bundle>
    ) -> [Certificate] {
        bundles.flatMap { bundle in
            let named = bundle.authorities.filter { list.isNamed($0) }
            if named.count <= Self.mostCandidates { return named }
            let exact = named.filter { authority in
                (try? authority.extensions.subjectKeyIdentifier).map {
                    Array($0.keyIdentifier) == list.authorityKeyIdentifier
                } ?? false
            }
            return Array((exact + named.filter { !exact.contains($0) }).prefix(Self.mostCandidates))
        }
    }

    /// Far more than there are while an authority is replaced.
    private static let mostCandidates = 8

    /// Whether each authority of the bundles has signed one of the lists.
    static func haveAll(_ bundles: [X509Bundle], signed lists: [CertificateRevocationList]) -> Bool
    {
        var authors: Set<Certificate> = []
        for list in lists {
            for authority in Self.candidates(list, bundles) where list.isSigned(by: authority) {
                authors.insert(authority)
            }
        }
        return bundles.allSatisfy { $0.authorities.allSatisfy(authors.contains) }
    }

    /// Whether a list of the same authority is among others. One that only says so is none: the bundles of several trust
    /// domains are together here, and a partner may have an authority with the name and the key ID of ours.
    static func hasSuccessor(
        _ list: CertificateRevocationList, among others: [CertificateRevocationList],
        _ bundles: [X509Bundle]
    ) -> Bool {
        let authors = Self.candidates(list, bundles).filter { list.isSigned(by: $0) }
        return others.contains { other in
            authors.isEmpty
                ? other.hasIssuer(of: list) : authors.contains { other.isSigned(by: $0) }
        }
    }
}
