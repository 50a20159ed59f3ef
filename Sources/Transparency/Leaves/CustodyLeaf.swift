package import SPIFFE

/// `custody.recorded`: a workload had on record what it did, signed by itself.
package struct CustodyLeaf: Hashable, Sendable {
    /// The transaction that the act belongs to.
    package var transaction: String
    /// Who acted, and signed.
    package var spiffeID: SPIFFEID
    /// What was done.
    package var action: String
    /// Towards whom.
    package var peer: SPIFFEID?
    /// The statement, a compact JWS.
    package var statement: String
    /// The peer's receipt of it, a compact JWS.
    package var receipt: String?
    /// SHA-256 of the statement.
    package var statementDigest: [UInt8]
    /// The serial number of the certificate that signed, in lower-case hex: that of the leaf `svid.issued`.
    package var serial: String
    /// The agent of the workload.
    package var node: SPIFFEID

    package init(
        transaction: String, spiffeID: SPIFFEID, action: String, peer: SPIFFEID? = nil,
        statement: String, receipt: String? = nil, statementDigest: [UInt8], serial: String,
        node: SPIFFEID
    ) {
        self.transaction = transaction
        self.spiffeID = spiffeID
        self.action = action
        self.peer = peer
        self.statement = statement
        self.receipt = receipt
        self.statementDigest = statementDigest
        self.serial = serial
        self.node = node
    }

    /// The leaf of a statement and its receipt, as they stand in it.
    package init(
        _ statement: SignedCustodyStatement, receipt: CustodyReceipt?, node: SPIFFEID
    ) {
        self.init(
            transaction: statement.statement.transaction, spiffeID: statement.signer,
            action: statement.statement.action, peer: statement.statement.peer,
            statement: statement.token, receipt: receipt?.token, statementDigest: statement.digest,
            serial: statement.serial, node: node)
    }

    /// What the statement and the receipt in the leaf say, once it is certain that the leaf's other members say the
    /// same. Signatures are checked with the certificates in them; that the server verified those when it recorded them
    /// is what the ledger stands for.
    ///
    /// - Throws: `CustodyError`; ``TransparencyError`` `malformedLeaf` for a member that says something else.
    package func verified() throws -> (statement: SignedCustodyStatement, receipt: CustodyReceipt?)
    {
        let statement = try SignedCustodyStatement(self.statement)
        let receipt = try self.receipt.map { try CustodyReceipt($0) }
        try receipt?.check(statement)
        guard Self(statement, receipt: receipt, node: self.node) == self else {
            throw TransparencyError(
                .malformedLeaf, "a custody leaf says something else than the statement in it")
        }
        return (statement, receipt)
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("txn", self.transaction)
        fields.add("spiffe_id", self.spiffeID.string)
        fields.add("action", self.action)
        fields.add("peer", self.peer?.string)
        fields.add("statement", self.statement)
        fields.add("receipt", self.receipt)
        fields.add("statement_digest", hex: self.statementDigest)
        fields.add("serial", self.serial)
        fields.add("node", self.node.string)
        return fields
    }

    init(_ reader: LeafReader) throws(LeafReader.Missing) {
        self.transaction = try reader.need(reader.string("txn"))
        self.spiffeID = try reader.need(reader.id("spiffe_id"))
        self.action = try reader.need(reader.string("action"))
        self.peer = try reader.id("peer")
        self.statement = try reader.need(reader.string("statement"))
        self.receipt = try reader.string("receipt")
        self.statementDigest = try reader.need(reader.hex("statement_digest"))
        self.serial = try reader.need(reader.string("serial"))
        self.node = try reader.need(reader.id("node"))
    }
}
