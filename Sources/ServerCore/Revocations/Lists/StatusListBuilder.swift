import SPIFFE

/// Makes the Token Status List of a trust domain's JWT- and WIT-SVIDs (draft-ietf-oauth-status-list-21), in its JWT form.
///
/// Two bits for each token, so that a suspended one can be told from one that is taken back for good. The bytes stay in
/// memory; a change touches its own place only.
package struct StatusListBuilder: Sendable {
    /// What a place says (§7.1).
    package enum Status {
        package static let valid: UInt8 = 0
        package static let invalid: UInt8 = 1
        package static let suspended: UInt8 = 2
    }

    /// The `typ` of the token.
    package static let tokenType = "statuslist+jwt"
    /// The media type under which it is served.
    package static let mediaType = "application/statuslist+jwt"
    private static let bitsPerPlace = 2
    /// A list is never shorter: 256 KiB, which are 300 bytes when nothing is taken back.
    package static let fewestPlaces = 1 << 20
    /// A list is never longer: 64 MiB.
    package static let mostPlaces = 1 << 28
    /// Smallest at 9, but 10,000 scattered places of a million then take 80 ms; at 6 they take 6.
    private static let compressionLevel: Int32 = 6

    private var bits: StatusBits
    /// The places that are not valid.
    private var marked: [Int64: Bool] = [:]

    /// A list in which everything is valid.
    package init() {
        self.bits = StatusBits(bitsPerPlace: Self.bitsPerPlace, places: Self.fewestPlaces)
    }

    /// How many places there are, taken or not.
    package var places: Int { self.bits.places }

    /// Whether a list for that many tokens would have more places: verifiers refuse a token whose place is beyond the
    /// end of the list that they hold, so there is always room for as many again.
    package func isTooShort(for tokens: Int64) -> Bool {
        Self.places(for: tokens) > self.places
    }

    /// Marks these places and no others.
    ///
    /// - Parameters:
    ///   - statuses: true: taken back for good; false: suspended.
    ///   - tokens: how many places have been given to tokens.
    /// - Returns: whether the list has changed, its length included.
    /// - Throws: ``ServerError`` `resourceExhausted` when a place is beyond ``mostPlaces``; the others are marked.
    package mutating func update(
        _ statuses: [Int64: Bool], tokens: Int64
    ) throws(ServerError) -> Bool {
        let last = statuses.keys.max() ?? -1
        let beyond = last >= Int64(Self.mostPlaces)
        var hasChanged = self.grow(to: Self.places(for: max(tokens, last + 1)))
        if statuses != self.marked {
            hasChanged = true
            for place in self.marked.keys where statuses[place] == nil {
                self.set(Status.valid, at: place)
            }
            for (place, isForGood) in statuses where self.marked[place] != isForGood {
                self.set(isForGood ? Status.invalid : Status.suspended, at: place)
            }
            self.marked = statuses
        }
        if beyond {
            throw ServerError(
                .resourceExhausted,
                "status list has no place \(last); at most \(Self.mostPlaces) tokens with a status can be live at once"
            )
        }
        return hasChanged
    }

    /// What a place says; nil beyond the end.
    package subscript(place: Int64) -> UInt8? { Int(exactly: place).flatMap { self.bits[$0] } }

    /// The claims of the token (§5.1), JSON.
    ///
    /// - Parameters:
    ///   - uri: where the list is; what tokens refer to it by.
    ///   - issuer: `iss`, if tokens have one.
    ///   - issuedAt: Unix seconds.
    ///   - expiresAt: Unix seconds.
    ///   - timeToLive: seconds after which consumers shall look for a newer one.
    /// - Throws: ``ServerError`` `internal` when the list cannot be compressed.
    package func claims(
        uri: String, issuer: String?, issuedAt: Int64, expiresAt: Int64, timeToLive: Int64
    ) throws(ServerError) -> [UInt8] {
        let list = Base64URL.encode(
            try self.bits.compressed(level: Self.compressionLevel))
        var claims: [String: JSONValue] = [
            "sub": .string(uri), "iat": .int(issuedAt), "exp": .int(expiresAt),
            "ttl": .int(timeToLive),
            "status_list": .object([
                "bits": .int(Int64(Self.bitsPerPlace)), "lst": .string(list),
            ]),
        ]
        if let issuer { claims["iss"] = .string(issuer) }
        return JSONValue.object(claims).serialized()
    }

    private static func places(for tokens: Int64) -> Int {
        var places = Self.fewestPlaces
        while places < Self.mostPlaces, Int64(places / 2) < tokens { places *= 2 }
        return places
    }

    private mutating func grow(to places: Int) -> Bool {
        guard places > self.places else { return false }
        self.bits = StatusBits(bitsPerPlace: Self.bitsPerPlace, places: places)
        for (place, isForGood) in self.marked {
            self.set(isForGood ? Status.invalid : Status.suspended, at: place)
        }
        return true
    }

    private mutating func set(_ status: UInt8, at place: Int64) {
        if let place = Int(exactly: place) { self.bits.set(status, at: place) }
    }
}
