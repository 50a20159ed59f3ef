/// Decides which authenticated SPIFFE IDs may talk to us.
///
/// Authentication says who a peer is; this says whether that is enough. There is no default: a rule that
/// lets everybody in has to be written out as ``allowingAny``.
///
/// ```swift
/// let rule = Authorizer.anyOf([
///     .exactly(try SPIFFEID("spiffe://example.org/db")),
///     try .path("/ns/*/sa/web", in: try TrustDomain("example.org")),
/// ])
/// ```
public struct Authorizer: Sendable, CustomStringConvertible {
    private indirect enum Rule: Sendable {
        case any
        case oneOf(Set<SPIFFEID>)
        case member(TrustDomain)
        case path(PathPattern, TrustDomain)
        case anyOf([Rule])
        case allOf([Rule])
        case not(Rule)
    }
    private let rule: Rule

    private init(_ rule: Rule) { self.rule = rule }

    /// Only this SPIFFE ID.
    public static func exactly(_ id: SPIFFEID) -> Authorizer { Authorizer(.oneOf([id])) }

    /// Only these SPIFFE IDs; none of them means nobody.
    public static func oneOf(_ ids: some Sequence<SPIFFEID>) -> Authorizer {
        Authorizer(.oneOf(Set(ids)))
    }

    /// Every SPIFFE ID of the trust domain.
    public static func member(of trustDomain: TrustDomain) -> Authorizer {
        Authorizer(.member(trustDomain))
    }

    /// SPIFFE IDs of the trust domain whose path matches.
    ///
    /// - Parameters:
    ///   - pattern: A path in which `*` stands for one whole segment, and `**` at the end for one or more:
    ///     `/ns/*/sa/web`, `/agent/**`.
    ///   - trustDomain: Whose SPIFFE IDs; those of others never match.
    /// - Throws: ``AuthorizationError`` `pattern` for anything else.
    public static func path(
        _ pattern: String, in trustDomain: TrustDomain
    ) throws(AuthorizationError) -> Authorizer {
        Authorizer(.path(try PathPattern(pattern), trustDomain))
    }

    /// Whoever one of the rules lets in; without rules nobody.
    public static func anyOf(_ rules: [Authorizer]) -> Authorizer {
        Authorizer(.anyOf(rules.map(\.rule)))
    }

    /// Whoever all of the rules let in; without rules nobody.
    public static func allOf(_ rules: [Authorizer]) -> Authorizer {
        // "All of nothing" is true in logic; as a rule it would be a hole that nobody wrote.
        Authorizer(rules.isEmpty ? .oneOf([]) : .allOf(rules.map(\.rule)))
    }

    /// Whoever the rule does not let in.
    public static func not(_ rule: Authorizer) -> Authorizer { Authorizer(.not(rule.rule)) }

    /// Every peer of the trust domain; another word for ``member(of:)``.
    public static func allowingAnyPeer(in trustDomain: TrustDomain) -> Authorizer {
        .member(of: trustDomain)
    }

    /// Everybody with an identity that verifies, of any trust domain whose bundle is there.
    public static let allowingAny = Authorizer(.any)

    /// Returns when the SPIFFE ID may pass.
    ///
    /// - Throws: ``AuthorizationError`` `denied` when not.
    public func authorize(_ id: SPIFFEID) throws(AuthorizationError) {
        guard Authorizer.allows(self.rule, id) else {
            throw AuthorizationError(.denied, "\(id) is not authorized: allowed is \(self)")
        }
    }

    private static func allows(_ rule: Rule, _ id: SPIFFEID) -> Bool {
        switch rule {
        case .any: true
        case .oneOf(let ids): ids.contains(id)
        case .member(let trustDomain): id.isMember(of: trustDomain)
        case .path(let pattern, let trustDomain):
            id.isMember(of: trustDomain) && pattern.matches(id)
        case .anyOf(let rules): rules.contains { self.allows($0, id) }
        case .allOf(let rules): rules.allSatisfy { self.allows($0, id) }
        case .not(let rule): !self.allows(rule, id)
        }
    }

    /// The rule in words, capped at 200 bytes.
    public var description: String {
        let words = Authorizer.describe(self.rule)
        return words.utf8.count <= 200 ? words : String(words.prefix(200)) + "…"
    }

    private static func describe(_ rule: Rule) -> String {
        switch rule {
        case .any: "any peer"
        case .oneOf(let ids):
            ids.isEmpty ? "nobody" : ids.sorted().map(\.string).joined(separator: " or ")
        case .member(let trustDomain): "any member of \(trustDomain)"
        case .path(let pattern, let trustDomain): "spiffe://\(trustDomain)\(pattern)"
        case .anyOf(let rules):
            rules.isEmpty
                ? "nobody" : "(" + rules.map(self.describe).joined(separator: " or ") + ")"
        case .allOf(let rules): "(" + rules.map(self.describe).joined(separator: " and ") + ")"
        case .not(let rule): "not " + self.describe(rule)
        }
    }
}

/// A path with wildcards for whole segments.
private struct PathPattern: Sendable, CustomStringConvertible {
    private let segments: [String]
    private let matchesRest: Bool
    let description: String

    /// In bytes; a longer one could match no SPIFFE ID.
    private static let maximumLength = 2_048

    init(_ pattern: String) throws(AuthorizationError) {
        guard pattern.utf8.count <= Self.maximumLength else {
            throw AuthorizationError(
                .pattern,
                "path pattern \(SPIFFEIDError.quoted(pattern)) has \(pattern.utf8.count) bytes; at most "
                    + "\(Self.maximumLength) are accepted")
        }
        var segments = pattern.split(separator: "/", omittingEmptySubsequences: false).map(
            String.init)
        guard segments.first == "", segments.count > 1 else {
            throw AuthorizationError(
                .pattern, "path pattern \(SPIFFEIDError.quoted(pattern)) does not start with \"/\"")
        }
        segments.removeFirst()
        let matchesRest = segments.last == "**"
        if matchesRest { segments.removeLast() }
        for segment in segments where segment != "*" {
            // Whatever could be no segment of a SPIFFE ID would silently never match.
            do {
                _ = try SPIFFEID("spiffe://pattern/" + segment)
            } catch {
                throw AuthorizationError(
                    .pattern,
                    "path pattern \(SPIFFEIDError.quoted(pattern)) has segment \(SPIFFEIDError.quoted(segment)); "
                        + "expected A-Z a-z 0-9 . - _, or a whole \"*\", or \"**\" at the end")
            }
        }
        self.segments = segments
        self.matchesRest = matchesRest
        self.description = pattern
    }

    func matches(_ id: SPIFFEID) -> Bool {
        let path = id.pathSegments
        guard
            self.matchesRest ? path.count > self.segments.count : path.count == self.segments.count
        else {
            return false
        }
        return zip(self.segments, path).allSatisfy { $0 == "*" || $0 == $1 }
    }
}

/// Why a peer may not pass, or why a rule is none.
public struct AuthorizationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable { case denied, pattern }
        private let value: Value
        private init(_ value: Value) { self.value = value }
        /// The peer is authenticated but not allowed.
        public static let denied = Code(.denied)
        /// A path pattern is malformed.
        public static let pattern = Code(.pattern)

        public var description: String { self.value.rawValue }
    }

    /// What was wrong; compare this.
    public let code: Code
    /// Who was refused and who is allowed, for people on this side; do not send it to the peer.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { self.message }
}
