public import Foundation

/// What a workload says that it did: "I did this, for that transaction, towards that peer, at that time".
///
/// A statement names no details of the act; where they matter, it has their SHA-256, so that whoever keeps the details
/// can show later which they were. docs/custody.md has the form.
public struct CustodyStatement: Hashable, Sendable {
    /// What was done, 1 to 128 printable ASCII characters, for instance `close-valve`.
    public let action: String
    /// The transaction that it belongs to, 1 to 128 printable ASCII characters without space. Whoever begins it makes it up
    /// and hands it on; everybody who acts in it uses the same.
    public let transaction: String
    /// Towards whom; nil for an act without another party.
    public let peer: SPIFFEID?
    /// When, in whole seconds.
    public let time: Date
    /// SHA-256 of the details; nil when there are none.
    public let detailsSHA256: [UInt8]?

    /// - Parameters:
    ///   - action: What was done, 1 to 128 printable ASCII characters.
    ///   - transaction: What it belongs to, 1 to 128 printable ASCII characters without space.
    ///   - peer: Towards whom; nil for an act without another party.
    ///   - time: Is cut to whole seconds.
    ///   - detailsSHA256: 32 bytes; nil when there are no details.
    /// - Throws: ``CustodyError`` `invalidClaim` when one of the rules above is broken.
    public init(
        action: String, transaction: String, peer: SPIFFEID? = nil, time: Date = Date(),
        detailsSHA256: [UInt8]? = nil
    ) throws(CustodyError) {
        try Self.check("action", action, 0x20...0x7E)
        try Self.check("transaction", transaction, 0x21...0x7E)
        let seconds = time.timeIntervalSince1970.rounded(.down)
        guard (0...NumericDate.maximum).contains(seconds) else {
            throw CustodyError(.invalidClaim, "the time is before 1970 or after 9999")
        }
        guard detailsSHA256.map({ $0.count == 32 }) ?? true else {
            throw CustodyError(.invalidClaim, "a SHA-256 has 32 bytes")
        }
        self.action = action
        self.transaction = transaction
        self.peer = peer
        self.time = Date(timeIntervalSince1970: seconds)
        self.detailsSHA256 = detailsSHA256
    }

    private static func check(
        _ name: String, _ text: String, _ allowed: ClosedRange<UInt8>
    ) throws(CustodyError) {
        guard (1...128).contains(text.utf8.count), text.utf8.allSatisfy(allowed.contains) else {
            throw CustodyError(
                .invalidClaim, "\(name) has not 1 to 128 printable ASCII characters")
        }
    }

    /// Signs the statement with the key of an X509-SVID, whose chain goes with it.
    ///
    /// - Throws: ``CustodyError`` `signing` for a key that cannot sign (Ed25519 among others), `time` when the SVID is
    ///   not valid at ``time``, `tooLarge`.
    public func signed(by svid: X509SVID) throws(CustodyError) -> SignedCustodyStatement {
        var claims: [String: JSONValue] = [
            "act": .string(self.action), "txn": .string(self.transaction),
        ]
        if let peer { claims["peer"] = .string(peer.string) }
        if let digest = self.detailsSHA256 { claims["dig"] = .string(Base64URL.encode(digest)) }
        // Read again, so that nothing is handed out that somebody else would refuse.
        return try SignedCustodyStatement(
            try CustodyToken.sign(
                claims, type: SignedCustodyStatement.type,
                issuedAt: Int64(self.time.timeIntervalSince1970), by: svid))
    }
}

/// A statement with the signature of who made it: a compact JWS of type `custody+jwt`.
///
/// The signature is that of the certificate in it. Whether somebody vouches for that certificate is said by ``CustodyVerifier``.
public struct SignedCustodyStatement: Hashable, Sendable {
    static let type = "custody+jwt"

    /// What is stated.
    public let statement: CustodyStatement
    let content: CustodyToken

    /// Reads a statement.
    ///
    /// - Parameter token: The compact JWS, at most 16 KiB.
    /// - Throws: ``CustodyError`` `tooLarge`, `malformed`, `invalidClaim`, `subject`, `signature`, `time`.
    public init(_ token: String) throws(CustodyError) {
        let (content, claims) = try CustodyToken.read(
            token, type: Self.type, claims: ["act", "txn", "peer", "dig"])
        guard let action = claims["act"]?.stringValue, let transaction = claims["txn"]?.stringValue
        else { throw CustodyError(.malformed, "act or txn is missing") }
        var peer: SPIFFEID?
        if let claim = claims["peer"] {
            guard let text = claim.stringValue, let id = try? SPIFFEID(text),
                id.string.utf8.elementsEqual(text.utf8)
            else { throw CustodyError(.malformed, "peer is no SPIFFE ID") }
            peer = id
        }
        self.statement = try CustodyStatement(
            action: action, transaction: transaction, peer: peer,
            time: Date(timeIntervalSince1970: Double(content.issuedAt)),
            detailsSHA256: try CustodyToken.digest("dig", claims))
        self.content = content
    }

    /// The compact JWS.
    public var token: String { self.content.token }
    /// Who states it.
    public var signer: SPIFFEID { self.content.signer }
    /// The certificates in it: the leaf, then the signing certificates above it.
    public var certificateChainDER: [[UInt8]] { self.content.chainDER }
    /// The serial number of the leaf in lower-case hex, without leading zeros.
    public var serial: String { self.content.serial }
    /// SHA-256 of ``token``: how receipts and the ledger name the statement.
    public var digest: [UInt8] { self.content.digest }
}
