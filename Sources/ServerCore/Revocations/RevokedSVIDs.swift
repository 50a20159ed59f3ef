/// The live SVIDs that are taken back, for whoever signs lists of them.
package protocol RevokedSVIDs: Sendable {
    /// X509-SVIDs of an authority that are taken back and have not expired, in no order.
    func revokedCertificates(authorityID: String) -> [RevokedCertificate]
    /// SHA-256 of the signing inputs of tokens that are taken back and have not expired.
    func revokedTokens() -> Set<[UInt8]>
    /// The places in the status list of tokens that are taken back (true: for good; false: suspended) and have not
    /// expired.
    func revokedStatuses() -> [Int64: Bool]
    /// Called after each change of any of these, on the thread of the store: it must be quick.
    func onChange(_ body: @escaping @Sendable () -> Void)
}

/// One line of a CRL.
package struct RevokedCertificate: Sendable, Hashable {
    /// The certificate's serial number.
    let number: Bytes32
    /// Unix seconds.
    package let revokedAt: Int64
    /// Whether the revocation can be lifted: reason certificateHold.
    package let isSuspended: Bool

    init(number: Bytes32, revokedAt: Int64, isSuspended: Bool) {
        self.number = number
        self.revokedAt = revokedAt
        self.isSuspended = isSuspended
    }

    /// - Parameter serial: in hex; nil comes of what is none, or has more than 64 digits.
    package init?(serial: String, revokedAt: Int64, isSuspended: Bool) {
        guard let number = Bytes32(hexNumber: serial) else { return nil }
        self.init(number: number, revokedAt: revokedAt, isSuspended: isSuspended)
    }

    /// Lower-case hex without leading zeros.
    package var serial: String { self.number.hexNumber }
}
