import SPIFFE
import SwiftASN1
import X509

/// What a list of revoked certificates knows a certificate by.
struct RevocationName: Hashable, Sendable {
    /// Key ID of the authority that signed it; nil when the certificate does not say.
    let issuerKeyID: [UInt8]?
    /// Big-endian.
    let serialNumber: [UInt8]

    init(_ certificate: Certificate) {
        let authority = try? certificate.extensions.authorityKeyIdentifier
        self.issuerKeyID = authority?.keyIdentifier.map { Array($0) }
        self.serialNumber = Array(certificate.serialNumber.bytes)
    }
}

/// The revocations an agent holds. Empty, and without memory of its own, where the server tells none.
///
/// A value without I/O: lists are checked by ``check(_:bundle:held:)`` wherever there is time, and put in place by
/// ``apply(_:)``.
struct AgentRevocations: Sendable {
    struct Held: Sendable {
        /// As the server sent them, those included that could not be used: a later bundle may have their authority.
        var received: [[UInt8]]
        /// Those whose signature is good, ordered by authority.
        var lists: [RevocationList]
        var statusLists: [String: String]
        var revokedTokens: Set<SigningInputDigest>
        /// Changes with `lists`.
        var listsVersion: UInt64 = 0
        /// Changes with anything that workloads are told.
        var version: UInt64 = 0
        /// Every list of an authority in the bundle could be used.
        var isComplete: Bool
    }

    /// A state that has been checked against a bundle.
    struct Checked: Sendable {
        var trustDomain: TrustDomain
        var held: Held
        /// Lists that were not taken, and why; for the log.
        var problems: [String]
    }

    /// What an update did.
    struct Difference: Sendable {
        var listsChanged: Set<TrustDomain> = []
        var changed: Set<TrustDomain> = []
        var tokensChanged = false
    }

    private var held: [TrustDomain: Held] = [:]
    private var nextVersion: UInt64 = 1

    subscript(trustDomain: TrustDomain) -> Held? { self.held[trustDomain] }

    var isEmpty: Bool { self.held.isEmpty }

    /// Checks what the server sent against the trust domain's bundle.
    ///
    /// A list that is malformed or not signed by the authority that it names is not taken, and what is held of that
    /// authority stays. A list of an authority that the bundle does not have is left out: nobody trusts what it signed.
    static func check(
        _ sent: DomainRevocations, bundle: AgentBundle?, held: Held?
    ) -> Checked {
        var tokens = Set(sent.revokedTokens)
        if !sent.hasAllTokens, let held { tokens.formUnion(held.revokedTokens) }
        return Self.check(
            sent.trustDomain,
            Held(
                received: sent.crls, lists: [], statusLists: sent.statusLists,
                revokedTokens: tokens, isComplete: true),
            bundle: bundle, before: held?.lists ?? [])
    }

    /// Checks what is held against a bundle that has changed.
    static func check(
        again held: Held, of trustDomain: TrustDomain, bundle: AgentBundle?
    ) -> Checked {
        Self.check(trustDomain, held, bundle: bundle, before: held.lists)
    }

    private static func check(
        _ trustDomain: TrustDomain, _ held: Held, bundle: AgentBundle?, before: [RevocationList]
    ) -> Checked {
        var authorities: [[UInt8]: [Certificate]] = [:]
        for authority in bundle?.x509Authorities ?? [] {
            guard let certificate = try? Certificate(derEncoded: authority.der),
                let identifier = try? certificate.extensions.subjectKeyIdentifier
            else { continue }
            authorities[Array(identifier.keyIdentifier), default: []].append(certificate)
        }
        var problems: [String] = []
        var lists: [[UInt8]: RevocationList] = [:]
        for der in held.received {
            do throws(RevocationList.Refused) {
                let list = try RevocationList(der: der)
                guard let signers = authorities[list.authorityKeyID] else { continue }
                guard signers.contains(where: list.isSigned(by:)) else {
                    throw RevocationList.Refused(
                        description: "its authority in the bundle did not sign it")
                }
                lists[list.authorityKeyID] = list
            } catch {
                problems.append(error.description)
            }
        }
        if !problems.isEmpty {
            for old in before
            where lists[old.authorityKeyID] == nil && authorities[old.authorityKeyID] != nil {
                lists[old.authorityKeyID] = old
            }
        }
        var checked = held
        checked.lists = lists.values.sorted {
            $0.authorityKeyID.lexicographicallyPrecedes($1.authorityKeyID)
        }
        checked.isComplete = problems.isEmpty
        return Checked(trustDomain: trustDomain, held: checked, problems: problems)
    }

    mutating func apply(_ checked: Checked) -> Difference {
        var difference = Difference()
        let old = self.held[checked.trustDomain]
        var new = checked.held
        let listsChanged = !new.lists.map(\.der).elementsEqual(old?.lists.map(\.der) ?? [])
        let tokensChanged = new.revokedTokens != old?.revokedTokens ?? []
        let isChanged =
            listsChanged || tokensChanged || old == nil || new.statusLists != old?.statusLists
        new.listsVersion = old?.listsVersion ?? 0
        new.version = old?.version ?? 0
        if listsChanged {
            new.listsVersion = self.nextVersion
            difference.listsChanged = [checked.trustDomain]
        }
        if isChanged {
            new.version = self.nextVersion
            difference.changed = [checked.trustDomain]
        }
        self.nextVersion += 1
        difference.tokensChanged = tokensChanged
        self.held[checked.trustDomain] = new
        return difference
    }

    mutating func remove(_ trustDomain: TrustDomain) -> Difference {
        guard let old = self.held.removeValue(forKey: trustDomain) else { return Difference() }
        return Difference(
            listsChanged: old.lists.isEmpty ? [] : [trustDomain], changed: [trustDomain],
            tokensChanged: !old.revokedTokens.isEmpty)
    }

    /// Whether an X509-SVID was taken back.
    func isRevoked(_ name: RevocationName, of trustDomain: TrustDomain) -> Bool {
        guard let issuer = name.issuerKeyID, let lists = self.held[trustDomain]?.lists else {
            return false
        }
        return lists.contains {
            $0.authorityKeyID == issuer && $0.contains(name.serialNumber)
        }
    }

    /// Whether a JWT- or WIT-SVID was taken back.
    func isRevoked(token: String, of trustDomain: TrustDomain) -> Bool {
        guard let tokens = self.held[trustDomain]?.revokedTokens, !tokens.isEmpty,
            let digest = SigningInputDigest(ofToken: token)
        else { return false }
        return tokens.contains(digest)
    }
}
