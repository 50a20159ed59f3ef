/// Those who verify SVIDs with the own trust domain's bundle, as far as the server is connected to them.
///
/// Both methods wait for a bounded time: somebody who does not answer, whatever the reason, must not be able to
/// keep an authority from being replaced.
package protocol BundleHolders: Sendable {
    /// Returns when all hold the bundle with that sequence number or a later one. Those that do not in time are
    /// disconnected; they get the bundle before anything else when they come back.
    func awaitBundle(_ sequenceNumber: UInt64) async

    /// Returns when all have the bundle with that sequence number or a later one and have replaced what rests on
    /// its tainted authorities, their own SVIDs included, or the time is over.
    ///
    /// - Parameter authorityID: of the X.509 authority that is to go; nil for the other kinds.
    func awaitReplacement(_ sequenceNumber: UInt64, x509AuthorityID: String?) async

    /// Disconnects those whose own SVID is of an X.509 authority that is gone.
    func disconnect(x509AuthorityID: String)
}

/// Something of the server's that has SVIDs of its own.
package protocol AuthorityDependent: Sendable {
    /// Replaces the SVIDs that the X.509 authority signed.
    ///
    /// - Throws: when one cannot be replaced; then it is still in use.
    func replaceSVIDs(signedBy authorityID: String) async throws
}
