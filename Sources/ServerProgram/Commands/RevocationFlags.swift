import ArgumentParser
import ControlPlaneProto
import ServiceRuntime
import SwiftProtobuf

/// The flags that say who is hit by `revocation create` and by `kill`.
struct RevocationTargetFlags: ParsableArguments {
    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "A SPIFFE ID.")
    var spiffeID = ""

    @Option(
        name: .go("pathPrefix"), parsing: .unconditional,
        help: "SPIFFE IDs whose path begins with these whole segments, such as /agents/pumps.")
    var pathPrefix = ""

    @Option(name: .go("entryID"), parsing: .unconditional, help: "A registration entry.")
    var entryID = ""

    @Option(
        name: .go("selector"), parsing: .unconditional,
        help: "Entries with this selector, type:value.")
    var selector = ""

    @Option(
        name: .go("agentID"), parsing: .unconditional,
        help: "SPIFFE ID of an agent: its own SVID and all that its node holds.")
    var agentID = ""

    /// The targets that are given.
    func targets() throws(CommandError) -> [Cygnet_Revocation_V1_Target] {
        var targets: [Cygnet_Revocation_V1_Target] = []
        if !self.spiffeID.isEmpty { targets.append(.with { $0.spiffeID = self.spiffeID }) }
        if !self.pathPrefix.isEmpty { targets.append(.with { $0.pathPrefix = self.pathPrefix }) }
        if !self.entryID.isEmpty { targets.append(.with { $0.entryID = self.entryID }) }
        if !self.selector.isEmpty {
            let selector = try Spire_Api_Types_Selector.parse(self.selector)
            targets.append(.with { $0.selector = selector })
        }
        if !self.agentID.isEmpty { targets.append(.with { $0.agentID = self.agentID }) }
        return targets
    }

    /// The one target of several that may be given.
    static func one(
        _ targets: [Cygnet_Revocation_V1_Target], of flags: String
    ) throws(CommandError) -> Cygnet_Revocation_V1_Target {
        guard let target = targets.first, targets.count == 1 else {
            throw CommandError(
                targets.isEmpty
                    ? "nothing is named that is to be revoked"
                    : "\(targets.count) targets are given; a revocation has one",
                hints: ["give exactly one of \(flags)"])
        }
        return target
    }
}

/// A serial number as people have it from other tools.
enum SerialText {
    /// Lower-case hex without leading zeros and colons; what is no hex stays as it is, and the server refuses it.
    static func normal(_ text: String) -> String {
        let digits = text.lowercased().filter { $0 != ":" }
        let short = digits.drop { $0 == "0" }
        return short.isEmpty ? text : String(short)
    }
}

/// The value of `-expiry`.
enum ExpiryText {
    /// Unix seconds from a Unix time, or from a duration such as `12h` that begins now; 0 from nothing.
    static func parse(_ text: String, now: Int64) throws(CommandError) -> Int64 {
        if text.isEmpty { return 0 }
        if let time = Int64(text), time >= 0 { return time }
        guard let duration = GoDuration.parse(text), duration > .zero else {
            throw CommandError(
                "-expiry \(QuotedText.quoted(text)) is no time; expected Unix seconds, or a duration from now such as 12h"
            )
        }
        let (sum, overflow) = now.addingReportingOverflow(max(1, duration.components.seconds))
        return overflow ? .max : sum
    }
}
