import ServiceRuntime

/// A block `serving_cert_file`: a certificate and its key in files that somebody else renews.
package struct ServingCertificateConfiguration: Sendable, Hashable {
    /// PEM, the server's certificate first.
    package var certificatePath: String
    /// PEM.
    package var keyPath: String
    /// How often the files are looked at.
    package var syncInterval: Duration

    /// Makes a configuration.
    package init(certificatePath: String, keyPath: String, syncInterval: Duration) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.syncInterval = syncInterval
    }

    /// Reads the keys of the block and leaves others to the caller, who also finishes it.
    ///
    /// - Parameter interval: What holds without `file_sync_interval`.
    init(
        reading section: inout ConfigurationSection, interval: Duration
    ) throws(ConfigurationError) {
        guard let certificate = try section.string("cert_file_path").nonEmpty else {
            throw section.missing("cert_file_path", "it names the certificate, in PEM")
        }
        guard let key = try section.string("key_file_path").nonEmpty else {
            throw section.missing("key_file_path", "it names the certificate's private key, in PEM")
        }
        self.certificatePath = certificate
        self.keyPath = key
        self.syncInterval =
            try section.duration("file_sync_interval", atLeast: .seconds(1)) ?? interval
    }

    /// Refuses `acme`, which SPIRE knows in the same places, and says what to use instead.
    static func refuseACME(_ section: inout ConfigurationSection) throws(ConfigurationError) {
        guard let acme = try section.section("acme") else { return }
        throw ConfigurationError(
            .unsupported,
            "\(acme.name) at \(acme.location) is not supported yet; use serving_cert_file with a certificate "
                + "that an ACME client of yours keeps fresh: the files are reloaded")
    }
}

/// A host and a port to listen on, as SPIRE writes them: `:443`, `127.0.0.1:8080`, `[::1]:8080`.
package struct ListeningAddress: Sendable, Hashable {
    /// An IP address or host name; `0.0.0.0` where none was written.
    package var host: String
    /// 0 takes a free port.
    package var port: Int

    /// Makes an address.
    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Nil for text of another form.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[colon...].dropFirst()
        guard (1...5).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits),
            port <= 65_535
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        self.init(host: host.isEmpty ? "0.0.0.0" : String(host), port: port)
    }

    /// Whether both cannot be bound at once: the same port, and the same host or one that stands for all.
    func conflicts(with other: ListeningAddress) -> Bool {
        let everything: Set<String> = ["0.0.0.0", "::", ""]
        return self.port != 0 && self.port == other.port
            && (self.host == other.host || everything.contains(self.host)
                || everything.contains(other.host))
    }
}
