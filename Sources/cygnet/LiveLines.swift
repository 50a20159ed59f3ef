import AgentCore
import Foundation
import NIOConcurrencyHelpers
import SPIFFE

/// One line per event on standard output, for people.
final class LiveLines: Sendable {
    private let output = NIOLockedValueBox(FileHandle.standardOutput)

    /// A line: time, what happened, to whom.
    func print(_ what: String, _ detail: String) {
        var now = time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        let padded = what + String(repeating: " ", count: max(1, 10 - what.count))
        self.block("\(clock)  \(padded) \(detail)")
    }

    func block(_ text: String) {
        // Paths and selectors come from workloads: no control characters reach the terminal.
        let safe = String(
            String.UnicodeScalarView(
                text.unicodeScalars.map {
                    $0.value < 0x20 && $0 != "\n" || $0.value == 0x7F ? "?" : $0
                }))
        self.output.withLockedValue { $0.write(Data((safe + "\n").utf8)) }
    }
}

/// Turns the agent's events into lines.
struct LaptopEvents: AgentEvents {
    let lines: LiveLines
    private let isAnnounced = NIOLockedValueBox(false)
    private let announce: @Sendable () -> Void

    init(lines: LiveLines, announce: @escaping @Sendable () -> Void) {
        self.lines = lines
        self.announce = announce
    }

    func record(_ event: AgentEvent) {
        switch event {
        case .attested(let agentID, _):
            self.lines.print("attested", "agent \(agentID)")
        case .renewed(let agentID, let expiresAt):
            self.lines.print("renewed", "agent \(agentID), valid until \(Self.format(expiresAt))")
        case .connected:
            self.announceOnce()
            self.lines.print("connected", "agent to server")
        case .disconnected(let reason, let held):
            self.lines.print("waiting", "for the server (\(reason)); \(held) identities stay valid")
        case .issued(let spiffeID, _, let expiresAt, let isRotation):
            self.lines.print(
                isRotation ? "renewed" : "issued",
                "\(spiffeID), valid until \(Self.format(expiresAt))")
        case .issuedJWT(let spiffeID, let audience, let expiresAt):
            self.lines.print(
                "issued",
                "\(spiffeID) as JWT for \(audience.joined(separator: ", ")), valid until \(Self.format(expiresAt))"
            )
        case .served(let pid, let spiffeIDs):
            self.lines.print(
                "served", "pid \(pid): \(spiffeIDs.map(\.string).joined(separator: ", "))")
        case .refused(let pid, let selectors, let nearest, _):
            var text =
                "pid \(pid): no identity issued; it has \(selectors.map(\.description).joined(separator: " "))"
            if let nearest { text += "; closest entry \(nearest)" }
            self.lines.print("refused", text)
        case .suspended(let reason): self.lines.print("suspended", reason)
        }
    }

    /// At the first connection, when the agent has its identity.
    private func announceOnce() {
        let isFirst = self.isAnnounced.withLockedValue { isAnnounced in
            defer { isAnnounced = true }
            return !isAnnounced
        }
        if isFirst { self.announce() }
    }

    private static func format(_ date: Date) -> String {
        var seconds = time_t(date.timeIntervalSince1970)
        var parts = tm()
        localtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
