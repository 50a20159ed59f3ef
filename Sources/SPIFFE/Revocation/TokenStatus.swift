/// What a status list says about a token.
///
/// - SeeAlso: draft-ietf-oauth-status-list §7.
public struct TokenStatus: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number in the list.
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// It counts.
    public static let valid = TokenStatus(rawValue: 0)
    /// It was taken back, for good.
    public static let invalid = TokenStatus(rawValue: 1)
    /// It does not count at present.
    public static let suspended = TokenStatus(rawValue: 2)

    public var description: String {
        switch self {
        case .valid: "valid"
        case .invalid: "invalid"
        case .suspended: "suspended"
        default: "status \(self.rawValue)"
        }
    }
}

/// Where a token's status is to be looked up: its claim `status`, member `status_list`.
///
/// - SeeAlso: draft-ietf-oauth-status-list §6.
package struct TokenStatusReference: Hashable, Sendable {
    /// The place in the list.
    package let index: UInt64
    /// The name of the list.
    package let uri: String

    /// - Returns: nil for a token without the claim, or with other mechanisms only.
    /// - Throws: ``JOSEError`` `compactForm` when the claim has not its form.
    package static func read(
        _ claims: [String: JSONValue]
    ) throws(JOSEError) -> TokenStatusReference? {
        guard let claim = claims["status"] else { return nil }
        guard let members = claim.objectValue else {
            throw JOSEError(.compactForm, "status is no JSON object")
        }
        guard let list = members["status_list"] else { return nil }
        guard let index = list["idx"]?.unsignedValue, let uri = list["uri"]?.stringValue,
            !uri.isEmpty
        else {
            throw JOSEError(
                .compactForm,
                "status.status_list has no idx that is a whole number, or no uri that is a text")
        }
        return TokenStatusReference(index: index, uri: uri)
    }
}
