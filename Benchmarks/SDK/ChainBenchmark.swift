import SPIFFE
import SPIFFETesting
import X509

/// Verification of X509-SVIDs, from DER to a verified identity, against the checks of their signatures alone.
enum ChainBenchmark {
    static func run() throws -> [Figure] {
        try [(1, "leaf and intermediate"), (0, "leaf below a root")].map { count, label in
            try self.figure(intermediates: count, label)
        }
    }

    /// - Parameter intermediates: That many are presented with the leaf, and that many and one signatures checked.
    private static func figure(intermediates: Int, _ label: String) throws -> Figure {
        let authority = try TestAuthority("example.org")
        let chainDER = try authority.x509SVID(
            "/ns/production/sa/orders", intermediates: intermediates
        ).certificateChainDER
        let verifier = X509SVIDVerifier(bundles: try authority.x509Bundle)
        guard case .verified(let verified) = try verifier.verifyPath(chainDER: chainDER),
            verified.chain.count == intermediates + 2
        else { throw BenchmarkError(description: "the chain does not verify") }
        // Parsed already: what is left is hashing and the arithmetic of P-256.
        let pairs = zip(verified.chain, verified.chain.dropFirst()).map {
            (tip: $0, key: $1.publicKey)
        }
        let times = try Measurement.fastest(
            runs: 100,
            [
                { keep(try verifier.verifyPath(chainDER: chainDER)) },
                {
                    for pair in pairs
                    where !pair.key.isValidSignature(pair.tip.signature, for: pair.tip) {
                        throw BenchmarkError(description: "a signature does not verify")
                    }
                },
            ])
        return Figure(
            benchmark: "chain", label: label, value: times[0] / times[1], unit: "×", must: 1.5,
            aim: 1.25,
            note: "\(label): \(microseconds(times[0])) µs, its \(pairs.count) signature "
                + "\(pairs.count == 1 ? "check" : "checks") \(microseconds(times[1])) µs")
    }
}

/// With one digit.
func microseconds(_ nanoseconds: Double) -> String {
    "\((nanoseconds / 100).rounded() / 10)"
}
