import ArgumentParser

/// The value of `-output`.
package enum OutputFormat: String, Sendable, CaseIterable, ExpressibleByArgument {
    /// Text for people, whose labels scripts rely on.
    case pretty
    /// One line of JSON.
    case json
}
