/// One plugin of the `plugins` block: `<type> "<name>" { plugin_data { … } }`.
package struct PluginConfiguration {
    /// The kind, such as `KeyManager`.
    package let type: String
    /// Which plugin, such as `disk`.
    package let name: String
    /// Its settings; absent settings read as an empty block.
    package let data: ConfigurationSection

    /// Reads all plugins that are enabled, in the order of the file within each type.
    ///
    /// External plugins (`plugin_cmd`, `plugin_checksum`, `plugin_args`) and `plugin_data_file` are
    /// refused as not supported yet.
    ///
    /// - Parameters:
    ///   - section: The block, or nil when the file has none.
    ///   - types: The types that this program knows.
    package static func readAll(
        _ section: ConfigurationSection?, types: [String]
    ) throws(ConfigurationError) -> [PluginConfiguration] {
        guard var section else { return [] }
        var plugins: [PluginConfiguration] = []
        for type in types {
            for (name, found) in try section.labelledSections(type) {
                var block = found
                if try block.boolean("enabled") == false { continue }
                try block.unsupported(
                    "plugin_cmd", "plugin_args", "plugin_checksum", "plugin_data_file",
                    unless: \.asksForNothing)
                let data = try block.section("plugin_data")
                try block.finish()
                plugins.append(
                    PluginConfiguration(
                        type: type, name: name,
                        data: data ?? ConfigurationSection(absent: block.name, at: block.location)))
            }
        }
        try section.finish()
        return plugins
    }

    /// An error for a plugin that SPIRE has and this program does not, or that nobody knows.
    ///
    /// - Parameters:
    ///   - builtIn: Names that this program implements for the type.
    ///   - known: Further names that SPIRE knows.
    package func refusal(builtIn: [String], known: [String]) -> ConfigurationError {
        let what = "\(self.type) \(QuotedText.quoted(self.name)) at \(self.data.location)"
        if known.contains(self.name) {
            return ConfigurationError(.unsupported, "known to SPIRE but not supported yet: \(what)")
        }
        let hint = NearestName.nearest(to: self.name, among: builtIn + known)
        return ConfigurationError(
            .unknownKey,
            "unknown plugin \(what)"
                + (hint.map { "; did you mean \"\($0)\"?" }
                    ?? "; built in are \(builtIn.joined(separator: ", "))"))
    }

    /// The one plugin of a type that must be configured exactly once.
    package static func single(
        _ type: String, of plugins: [PluginConfiguration], file: String, example: String
    ) throws(ConfigurationError) -> PluginConfiguration {
        let found = plugins.filter { $0.type == type }
        guard let plugin = found.first else {
            throw ConfigurationError(
                .missingKey,
                "\(file) has no \(type) plugin; add \(type) \"\(example)\" to its plugins block")
        }
        if found.count > 1 {
            throw ConfigurationError(
                .conflict,
                "\(type) \(QuotedText.quoted(found[1].name)) at \(found[1].data.location) is one too many; "
                    + "exactly one \(type) is accepted")
        }
        return plugin
    }
}
