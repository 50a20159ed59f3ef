public import Foundation

/// What the peer of a statement signs: "I have seen this statement, and it is about me". A compact JWS of type
/// `custody-receipt+jwt` over the SHA-256 of the statement.
public struct CustodyReceipt: Hashable, Sendable {
    static let type = "custody-receipt+jwt"

    /// SHA-256 of the statement's compact JWS.
    public let statementDigest: [UInt8]
    let content: CustodyToken

    /// Signs a receipt for a statement with the key of an X509-SVID. Verify the statement first.
    ///
    /// - Parameters:
    ///   - statement: What another one did towards this workload.
    ///   - svid: This workload's; its key signs.
    ///   - time: Is cut to whole seconds.
    /// - Throws: ``CustodyError`` `receipt` when the statement names another peer, `signing`, `time`, `tooLarge`.
    public init(
        for statement: SignedCustodyStatement, signedBy svid: X509SVID, time: Date = Date()
    ) throws(CustodyError) {
        guard statement.statement.peer == svid.id else {
            throw CustodyError(
                .receipt,
                "\(svid.id) is not the peer of the statement, "
                    + (statement.statement.peer?.string ?? "which has none"))
        }
        let seconds = time.timeIntervalSince1970.rounded(.down)
        guard (0...NumericDate.maximum).contains(seconds) else {
            throw CustodyError(.invalidClaim, "the time is before 1970 or after 9999")
        }
        try self.init(
            try CustodyToken.sign(
                ["stm": .string(Base64URL.encode(statement.digest))], type: Self.type,
                issuedAt: Int64(seconds), by: svid))
    }

    /// Reads a receipt.
    ///
    /// - Parameter token: The compact JWS, at most 16 KiB.
    /// - Throws: ``CustodyError`` `tooLarge`, `malformed`, `subject`, `signature`, `time`.
    public init(_ token: String) throws(CustodyError) {
        let (content, claims) = try CustodyToken.read(token, type: Self.type, claims: ["stm"])
        guard let digest = try CustodyToken.digest("stm", claims) else {
            throw CustodyError(.malformed, "stm is missing")
        }
        self.statementDigest = digest
        self.content = content
    }

    /// The compact JWS.
    public var token: String { self.content.token }
    /// Who signed it.
    public var signer: SPIFFEID { self.content.signer }
    /// When, in whole seconds.
    public var time: Date { Date(timeIntervalSince1970: Double(self.content.issuedAt)) }
    /// The certificates in it: the leaf, then the signing certificates above it.
    public var certificateChainDER: [[UInt8]] { self.content.chainDER }
    /// The serial number of the leaf in lower-case hex, without leading zeros.
    public var serial: String { self.content.serial }

    /// Whether the receipt is for this statement, by the one whom it names as its peer.
    ///
    /// - Throws: ``CustodyError`` `receipt`.
    public func check(_ statement: SignedCustodyStatement) throws(CustodyError) {
        guard self.statementDigest == statement.digest else {
            throw CustodyError(.receipt, "the receipt is for another statement")
        }
        guard self.signer == statement.statement.peer else {
            throw CustodyError(
                .receipt, "the receipt is by \(self.signer), not by the peer of the statement")
        }
    }
}
