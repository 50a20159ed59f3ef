/// Where the JWT-SVIDs that a program presents come from; asked whenever one is about to be sent.
public protocol JWTSVIDSource: Sendable {
    /// A JWT-SVID for these receivers that has not expired.
    ///
    /// - Parameters:
    ///   - audience: Whom the token is for; at least one, none of them empty.
    ///   - id: Whom it speaks for; nil takes the default identity.
    /// - Throws: When there is none; the request that needs it is not sent.
    func jwtSVID(audience: [String], id: SPIFFEID?) async throws -> JWTSVID
}
