import SPIFFEHTTP
import ServiceRuntime
package import Transparency

/// The blocks `witness` in `ledger`, and `quorum`: who cosigns the ledger's checkpoints.
package struct LedgerWitnessesConfiguration: Sendable, Hashable {
    /// A block `witness "name"`.
    package struct Witness: Sendable, Hashable {
        /// What the log of the server calls it.
        package var name: String
        /// `url`: `/add-checkpoint` is put behind it. Plain `http` only on this machine.
        package var url: String
        /// `key`: its verifier key.
        package var key: VerifierKey

        package init(name: String, url: String, key: VerifierKey) {
            self.name = name
            self.url = url
            self.key = key
        }
    }

    /// In the order of the file.
    package var witnesses: [Witness]
    /// `quorum`: with fewer that cosign, the operator is warned; default all of them.
    package var quorum: Int

    package init(witnesses: [Witness], quorum: Int) {
        self.witnesses = witnesses
        self.quorum = quorum
    }

    /// Reads the keys and leaves others to the caller, who also finishes the block; nil without witnesses.
    ///
    /// - Throws: ``ConfigurationError``.
    init?(reading section: inout ConfigurationSection) throws(ConfigurationError) {
        var witnesses: [Witness] = []
        for (label, block) in try section.labelledSections("witness") {
            var block = block
            let witness = try Self.witness(label, &block)
            if let twin = witnesses.first(where: {
                $0.name == label || $0.key.publicKey == witness.key.publicKey
            }) {
                throw ConfigurationError(
                    .conflict,
                    "\(block.name) at \(block.location) has the name or the key of witness "
                        + "\(QuotedText.quoted(twin.name)); each witness counts once")
            }
            witnesses.append(witness)
        }
        guard !witnesses.isEmpty else {
            if try section.integer("quorum") != nil {
                throw section.missing("witness", "a quorum needs witnesses")
            }
            return nil
        }
        self.quorum =
            try section.integer("quorum", in: 1...witnesses.count) ?? witnesses.count
        self.witnesses = witnesses
    }

    private static func witness(
        _ label: String, _ block: inout ConfigurationSection
    ) throws(ConfigurationError) -> Witness {
        let url = try block.parsed(
            "url",
            expecting: "an https address, or http on this machine (127.0.0.1, [::1], localhost)"
        ) { text -> String? in
            _ = try WebFileReader(url: text)
            return Self.isEncrypted(text) || Self.isLocal(text) ? text : nil
        }
        guard let url else {
            throw block.missing("url", "it is where the witness listens")
        }
        let key = try block.parsed(
            "key", expecting: "what \"cygnet-server witness -printKey\" prints"
        ) { text -> VerifierKey? in
            let key = try VerifierKey(parsing: text)
            return key.algorithm == .cosignature ? key : nil
        }
        guard let key else {
            throw block.missing("key", "its cosignatures are verified with it")
        }
        try block.finish()
        return Witness(name: label, url: url, key: key)
    }

    private static func isEncrypted(_ url: String) -> Bool {
        url.lowercased().hasPrefix("https://")
    }

    private static func isLocal(_ url: String) -> Bool {
        let rest = url.lowercased().dropFirst("http://".count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.contains("@") else { return false }
        if authority.hasPrefix("[::1]") { return true }
        let host = authority.prefix { $0 != ":" }
        return host == "127.0.0.1" || host == "localhost"
    }
}
