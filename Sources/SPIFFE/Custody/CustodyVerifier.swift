package import Foundation

/// Checks statements and receipts at the time at which they are made or recorded.
///
/// X509-SVIDs live for minutes, so this cannot be done later: what is in a ledger was verified by the server before it
/// was recorded, and the ledger proves when that was.
public struct CustodyVerifier: Sendable {
    /// How far a clock may be ahead of ours, in seconds.
    private static let leeway: Int64 = 60

    private let verifier: X509SVIDVerifier
    private let now: @Sendable () -> Date

    /// - Parameters:
    ///   - bundles: Of the trust domains whose workloads may state and sign receipts.
    ///   - revocation: What is done about SVIDs that were taken back.
    public init(bundles: any X509BundleSource, revocation: RevocationPolicy = .standard) {
        self.init(bundles: bundles, revocation: revocation, now: { Date() })
    }

    /// - Parameter now: The time to verify at.
    package init(
        bundles: any X509BundleSource, revocation: RevocationPolicy = .standard,
        now: @escaping @Sendable () -> Date
    ) {
        self.verifier = X509SVIDVerifier(bundles: bundles, revocation: revocation, now: now)
        self.now = now
    }

    /// Verifies a statement: its certificates lead to an authority of the signer's trust domain, now.
    ///
    /// - Throws: ``CustodyError`` `untrusted`, or `time` when it is dated more than a minute ahead.
    public func verify(_ statement: SignedCustodyStatement) async throws(CustodyError) {
        try await self.verify(statement.content)
    }

    /// Verifies a receipt as a statement, and that it is for this statement.
    ///
    /// - Throws: ``CustodyError`` `receipt`, `untrusted`, `time`.
    public func verify(
        _ receipt: CustodyReceipt, for statement: SignedCustodyStatement
    ) async throws(CustodyError) {
        try receipt.check(statement)
        try await self.verify(receipt.content)
    }

    private func verify(_ content: CustodyToken) async throws(CustodyError) {
        let latest = Int64(self.now().timeIntervalSince1970) + Self.leeway
        guard content.issuedAt <= latest else {
            throw CustodyError(.time, "it is dated more than \(Self.leeway) s into the future")
        }
        do throws(X509SVIDError) {
            _ = try await self.verifier.verify(chainDER: content.chainDER)
        } catch {
            throw CustodyError(.untrusted, error.message)
        }
    }
}
