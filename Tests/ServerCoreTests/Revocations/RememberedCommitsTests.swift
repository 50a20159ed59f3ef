import SPIFFE
import Testing

@testable import ServerCore

@Suite struct RememberedCommitsTests {
    private func revocation(_ id: String, isEnd: Bool = false) throws -> Revocation {
        let agent = try SPIFFEID("spiffe://acme.test/spire/agent/a")
        return Revocation(
            id: id,
            target: isEnd
                ? .workload(entryID: id, agent: agent)
                : .spiffeID(try SPIFFEID("spiffe://acme.test/a")),
            andChildren: false, isSuspension: false, isReplacement: isEnd, reason: "", caller: "",
            createdAt: 0, expiresAt: 0)
    }

    @Test func `ends of workloads displace each other, never what an operator waits for`() throws {
        let start = ContinuousClock.now
        var commits = RememberedCommits(mostOfKind: 3)
        commits.note(try self.revocation("kill"), at: start)
        for number in 0..<10 {
            commits.note(
                try self.revocation("end \(number)", isEnd: true), at: start + .seconds(number))
        }
        #expect(commits["kill"] == start)
        #expect(
            (0..<10).filter { commits["end \($0)"] == start + .seconds($0) } == [7, 8, 9])
        #expect(commits["unknown"] == nil)
    }

    @Test func `operators' commits are bounded, too, and leave those of workloads alone`() throws {
        let start = ContinuousClock.now
        var commits = RememberedCommits(mostOfKind: 2)
        commits.note(try self.revocation("end", isEnd: true), at: start)
        for id in ["a", "b", "b", "c"] { commits.note(try self.revocation(id), at: start) }
        #expect(["a", "b", "c", "end"].filter { commits[$0] != nil } == ["b", "c", "end"])
    }
}
