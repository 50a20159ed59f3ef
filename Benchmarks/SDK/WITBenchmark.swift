import Foundation
import SPIFFE
import SPIFFETesting

/// Verification of a request's WIT-SVID and proof, against the checks of two signatures. For information.
enum WITBenchmark {
    static func run() throws -> [Figure] {
        try WorkloadProofScheme.allCases.map { try self.figure($0) }
    }

    private static func figure(_ scheme: WorkloadProofScheme) throws -> Figure {
        let authority = try TestAuthority("example.org")
        let source = try TestWITSource(authority, "/ns/production/sa/orders")
        let svid = try source.witSVID()
        let now = Date()
        let bare = try ProofRequest(
            method: "POST", requestTarget: "/v1/orders?limit=5",
            fields: [
                .init(name: "Host", value: "orders.example"),
                .init(name: "Content-Type", value: "application/json"),
            ], bodySHA256: ProofRequest.sha256(of: Array("{}".utf8)), channel: .tls)
        let proof = try WorkloadProofSigner(scheme: scheme).fields(
            for: bare, audience: "https://orders.example/v1/orders", svid: svid, now: now)
        let request = try ProofRequest(
            method: bare.method, requestTarget: bare.requestTarget, fields: bare.fields + proof,
            bodySHA256: bare.bodySHA256, channel: .tls)
        let verifier = try WorkloadProofVerifier(
            audience: try ProofAudience(origins: ["https://orders.example"]))
        let bundle = authority.witBundle
        guard let key = bundle.authorities.values.first else {
            throw BenchmarkError(description: "the bundle has no key")
        }
        let check = try SignatureCheck(of: svid.token, key: key)
        let times = try Measurement.fastest(
            runs: 100,
            [
                {
                    keep(try verifier.verify(request, bundles: bundle, now: now) { _ in .fresh })
                },
                {
                    try check.run()
                    try check.run()
                },
            ])
        return Figure(
            benchmark: "wit", label: scheme == .proofToken ? "proof token" : "HTTP signature",
            value: times[0] / times[1], unit: "×",
            note: "\(scheme == .proofToken ? "proof token" : "HTTP signature"): "
                + "\(microseconds(times[0])) µs, two signature checks \(microseconds(times[1])) µs")
    }
}
