import NIOSSL

/// What a server shows in a handshake.
package struct ServerCertificate: Sendable {
    /// DER, leaf first.
    package let chain: [[UInt8]]
    package let keyDER: [UInt8]

    package init(chain: [[UInt8]], keyDER: [UInt8]) {
        self.chain = chain
        self.keyDER = keyDER
    }

    /// A server with this certificate that asks clients for none.
    var configuration: TLSConfiguration {
        get throws {
            .makeServerConfiguration(
                certificateChain: try self.chain.map {
                    .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
                },
                privateKey: .privateKey(try NIOSSLPrivateKey(bytes: self.keyDER, format: .der)))
        }
    }
}
