/// Where the WIT-SVIDs that a program presents come from; asked whenever one is about to be proved.
///
/// Incubating.
public protocol WITSVIDSource: Sendable {
    /// A WIT-SVID that has not expired, with the key that proves it.
    ///
    /// - Parameter id: Whom it speaks for; nil takes the default identity.
    /// - Throws: When there is none; the request that needs it is not sent.
    func witSVID(id: SPIFFEID?) async throws -> WITSVID
}
