import ServiceRuntime

/// The block `ledger`: where everybody can read the ledger.
package struct LedgerEndpointConfiguration: Sendable, Hashable {
    /// `address`, default `0.0.0.0`, and `port`.
    package var address: ListeningAddress
    /// `serving_cert_file`; without it there is no TLS. What is served is public, and its signatures tell who wrote it.
    package var certificate: ServingCertificateConfiguration?

    /// Reads the keys and leaves others to the caller, who also finishes the block.
    ///
    /// - Throws: ``ConfigurationError``.
    init(reading section: inout ConfigurationSection) throws(ConfigurationError) {
        let host = try section.string("address").nonEmpty ?? "0.0.0.0"
        guard let port = try section.integer("port", in: 0...65535) else {
            throw section.missing("port", "the ledger is served there, such as port = 8090")
        }
        self.address = ListeningAddress(host: host, port: port)
        try ServingCertificateConfiguration.refuseACME(&section)
        if var files = try section.section("serving_cert_file") {
            self.certificate = try ServingCertificateConfiguration(
                reading: &files, interval: .seconds(3_600))
            try files.finish()
        }
    }
}
