/// The version of all programs.
package enum ProgramVersion {
    /// What `-version` prints and agents report.
    package static let current = "0.1.0"
}
