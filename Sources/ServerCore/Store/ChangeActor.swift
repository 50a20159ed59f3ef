/// Who causes the changes that are made in this task, for the ledger.
///
/// Set where a call comes in and wherever the server knows better; the store takes it along with each write.
package enum ChangeActor {
    /// A SPIFFE ID, `uid:<n>`, or `self` for the server.
    @TaskLocal package static var name = "self"
    /// SHA-256 of the payload with which a node is being attested.
    @TaskLocal package static var evidenceDigest: [UInt8]?
}
