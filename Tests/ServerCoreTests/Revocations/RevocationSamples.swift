import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

/// Subjects, SVIDs and revocations of `acme.test`.
enum Sample {
    static func id(_ path: String) throws -> SPIFFEID {
        try SPIFFEID(trustDomain: try TrustDomain("acme.test"), path: path)
    }

    static func target(
        _ kind: RevocationTarget.Kind, _ value: String
    ) throws -> RevocationTarget {
        try RevocationTarget(type: kind, value: value, trustDomain: try TrustDomain("acme.test"))
    }

    static func revocation(
        _ id: String, _ kind: RevocationTarget.Kind, _ value: String, children: Bool = false,
        suspension: Bool = false, replacement: Bool = false, at: Int64 = 1_900_000_000,
        until: Int64 = 0
    ) throws -> Revocation {
        Revocation(
            id: id, target: try self.target(kind, value), andChildren: children,
            isSuspension: suspension, isReplacement: replacement, reason: "stolen", caller: "uid:0",
            createdAt: at, expiresAt: until)
    }

    static func subject(
        _ path: String, _ type: LeafSVIDType = .x509, entry: String? = nil,
        selectors: [String] = [], node: String? = nil, authority: String = "a1"
    ) throws -> IssuanceSubject {
        IssuanceSubject(
            svidType: type, spiffeID: try self.id(path), entryID: entry,
            selectors: try selectors.map { text throws in try Selector(text) },
            node: try node.map { path throws in try self.id(path) }, authorityID: authority)
    }

    /// An SVID of that number, which is its serial number or its `jti` as well.
    static func svid(
        _ number: Int, _ subject: IssuanceSubject, expiresAt: Int64 = 1_900_003_600,
        ticket: IssuanceTicket = IssuanceTicket()
    ) -> SignedSVID {
        let digest = Array(SHA256.hash(data: Array("svid \(number)".utf8)))
        let isToken = subject.svidType != .x509
        let leaf = SVIDIssuedLeaf(
            svidType: subject.svidType, spiffeID: subject.spiffeID,
            serial: isToken ? nil : String(number, radix: 16), jti: isToken ? "jti-\(number)" : nil,
            svidDigest: digest, notAfter: LeafTime(seconds: expiresAt),
            authorityID: subject.authorityID, entryID: subject.entryID, node: subject.node,
            caller: "test")
        return SignedSVID(
            subject: subject, leaf: leaf,
            signingInputDigest: isToken ? self.inputDigest(number) : nil, ticket: ticket)
    }

    static func inputDigest(_ number: Int) -> [UInt8] {
        Array(SHA256.hash(data: Array("input \(number)".utf8)))
    }
}

/// A directory and an admission, changed through the feed as the store does it.
final class AdmissionFeed {
    let clock = TestClock()
    let directory: Directory
    let admission: RevocationAdmission
    private var seq: UInt64 = 0

    init(statusListURI: String? = nil, limits: LiveLimits = LiveLimits()) throws {
        self.directory = Directory(trustDomain: try TrustDomain("acme.test"), now: self.clock.now)
        self.admission = RevocationAdmission(
            directory: self.directory, statusListURI: statusListURI, limits: limits,
            now: self.clock.now)
    }

    func apply(_ changes: Change...) {
        self.seq += UInt64(changes.count)
        self.directory.apply(changes, seq: self.seq)
    }

    /// Begins and admits an SVID.
    @discardableResult
    func issue(
        _ number: Int, _ subject: IssuanceSubject, expiresAt: Int64 = 1_900_003_600
    ) throws -> StatusReference? {
        let ticket = try self.admission.begin(subject)
        try self.admission.admit(
            Sample.svid(number, subject, expiresAt: expiresAt, ticket: ticket))
        return ticket.status
    }

    /// Serial numbers of what an authority has signed and is taken back.
    func serials(_ authority: String = "a1") -> Set<String> {
        Set(self.admission.revokedCertificates(authorityID: authority).map(\.serial))
    }

    /// Whether issuance is refused, with the revocation named.
    func isRefused(_ subject: IssuanceSubject, by id: String) -> Bool {
        do {
            _ = try self.admission.begin(subject)
            return false
        } catch {
            return error.code == .failedPrecondition && error.message.contains(" \(id) ")
        }
    }
}
