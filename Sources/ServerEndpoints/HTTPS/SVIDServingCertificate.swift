import NIOConcurrencyHelpers
package import NIOSSL
package import SPIFFE

/// Profile `https_spiffe`: the X509-SVID of a source, in TLS contexts made once per X509-SVID.
package final class SVIDServingCertificate: ServingCertificate {
    private struct Prepared {
        let svid: X509SVID
        let context: NIOSSLContext
    }

    private let source: any X509SVIDSource
    private let prepared = NIOLockedValueBox<Prepared?>(nil)

    /// - Parameter source: Asked at each connection.
    package init(_ source: any X509SVIDSource) { self.source = source }

    package func context() throws -> NIOSSLContext {
        let svid = try self.source.x509SVID()
        return try self.prepared.withLockedValue { prepared in
            if let prepared, prepared.svid == svid { return prepared.context }
            let context = try ServingTLS.context(
                chain: try svid.certificateChainDER.map {
                    .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
                },
                key: .privateKey(try NIOSSLPrivateKey(bytes: svid.privateKeyDER, format: .der)))
            prepared = Prepared(svid: svid, context: context)
            return context
        }
    }
}
