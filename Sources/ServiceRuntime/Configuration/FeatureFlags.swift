/// The switches in `experimental.feature_flags`: what a standard calls incubating, off unless asked for.
package enum FeatureFlags {
    /// WIT-SVIDs: issuance, the WIT profile of the Workload API.
    package static let witSVID = "wit-svid"

    private static let known = [FeatureFlags.witSVID]

    /// Reads the list from a block `experimental`, and leaves a note for each flag in it.
    ///
    /// - Throws: ``ConfigurationError`` for a flag that nobody knows.
    package static func read(
        from experimental: inout ConfigurationSection
    ) throws(ConfigurationError) -> [String] {
        let flags = try experimental.strings("feature_flags") ?? []
        for flag in flags where !self.known.contains(flag) {
            let hint = NearestName.nearest(to: flag, among: self.known)
            throw ConfigurationError(
                .invalidValue,
                "key \"feature_flags\" of \(experimental.name) at \(experimental.location(of: "feature_flags")): "
                    + "unknown flag \(QuotedText.quoted(flag))"
                    + (hint.map { "; did you mean \"\($0)\"?" } ?? ""))
        }
        return flags
    }
}
