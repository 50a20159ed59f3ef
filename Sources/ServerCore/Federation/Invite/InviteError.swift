/// Why an invite cannot be made, read or accepted.
package struct InviteError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: Sendable, Hashable {
        /// The text is no invite.
        case notAnInvite
        /// It is an invite of a version that is not understood here.
        case version
        /// It was cut or changed on the way.
        case damaged
        /// It is whole, and something in it is not as it should be.
        case malformed
        /// Its time is over.
        case expired
        /// The signature is not the one of an authority of the trust domain.
        case signature
        /// The bundle is not the one that the invite speaks of, nor one that followed it.
        case bundle
        /// The endpoint is not the one that the invite names.
        case endpoint
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
