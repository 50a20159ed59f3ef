import Logging
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import Testing

@testable import AgentCore

/// A process whose facts a test can change.
private final class FakeProcess: ProcessReference {
    let pid: Int32
    let startTime: UInt64
    let alive = NIOLockedValueBox(true)
    let changedProgram = NIOLockedValueBox(false)
    let facts: NIOLockedValueBox<ProcessFingerprint>

    init(pid: Int32 = 7, startTime: UInt64 = 1, inode: UInt64 = 1) {
        self.pid = pid
        self.startTime = startTime
        self.facts = NIOLockedValueBox(Self.fingerprint(inode: inode))
    }

    static func fingerprint(inode: UInt64, uid: UInt32 = 0) -> ProcessFingerprint {
        ProcessFingerprint(
            executable: .init(device: 1, inode: inode, path: "/x"),
            ids: [UInt32](repeating: uid, count: 8))
    }

    var isAlive: Bool { self.alive.withLockedValue { $0 } }
    func isConnector(_ now: ProcessFingerprint) -> Bool {
        !self.changedProgram.withLockedValue { $0 }
    }
    func fingerprint() -> ProcessFingerprint? { self.facts.withLockedValue { $0 } }
}

private final class FakeAttestor: WorkloadAttestor {
    let name: String
    let calls = NIOLockedValueBox(0)
    private let body: @Sendable (any ProcessReference) throws -> [String]

    init(
        _ name: String = "unix",
        _ body: @escaping @Sendable (any ProcessReference) throws -> [String]
    ) {
        self.name = name
        self.body = body
    }

    func selectors(of process: any ProcessReference) async throws -> [Selector] {
        self.calls.withLockedValue { $0 += 1 }
        return try self.body(process).map { try Selector(type: self.name, value: $0) }
    }
}

@Suite("Workload attestation")
struct WorkloadAttestationTests {
    private func attestation(_ attestors: FakeAttestor...) -> WorkloadAttestation {
        WorkloadAttestation(
            attestors: attestors, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test("a process is attested once for as long as it is what it was")
    func cached() async throws {
        let attestor = FakeAttestor { _ in ["uid:1"] }
        let attestation = self.attestation(attestor)
        let process = FakeProcess()
        for _ in 0..<3 {
            #expect(try await attestation.attest(process).selectors == selectors("unix:uid:1"))
        }
        #expect(attestor.calls.withLockedValue { $0 } == 1)
    }

    @Test("WEP-13: another program than the one that connected is refused")
    func exec() async throws {
        let attestor = FakeAttestor { _ in ["uid:1"] }
        let attestation = self.attestation(attestor)
        let process = FakeProcess()
        _ = try await attestation.attest(process).selectors
        // It may be a victim's program, with the socket in another process that it has left behind.
        process.changedProgram.withLockedValue { $0 = true }
        await #expect(throws: WorkloadRefusal.attestationFailed) {
            try await attestation.attest(process).selectors
        }
        #expect(attestor.calls.withLockedValue { $0 } == 1)
    }

    @Test("WEP-13: a program file that changed is attested anew")
    func otherFile() async throws {
        let attestor = FakeAttestor { process in
            ["path:/\(process.fingerprint()?.executable?.inode ?? 0)"]
        }
        let attestation = self.attestation(attestor)
        let process = FakeProcess(inode: 1)
        #expect(try await attestation.attest(process).selectors == selectors("unix:path:/1"))
        process.facts.withLockedValue { $0 = FakeProcess.fingerprint(inode: 2) }
        #expect(try await attestation.attest(process).selectors == selectors("unix:path:/2"))
    }

    @Test("WEP-13: setuid after connect is attested anew")
    func setuid() async throws {
        let attestor = FakeAttestor { process in ["uid:\(process.fingerprint()?.ids[1] ?? 0)"] }
        let attestation = self.attestation(attestor)
        let process = FakeProcess()
        _ = try await attestation.attest(process).selectors
        process.facts.withLockedValue { $0 = FakeProcess.fingerprint(inode: 1, uid: 9) }
        #expect(try await attestation.attest(process).selectors == selectors("unix:uid:9"))
    }

    @Test("WEP-13: exec while the facts are read does not mix two programs")
    func execMeanwhile() async throws {
        let process = FakeProcess(inode: 1)
        let attestor = FakeAttestor { reference in
            let before = reference.fingerprint()?.executable?.inode ?? 0
            if before == 1 {
                process.facts.withLockedValue { $0 = FakeProcess.fingerprint(inode: 2) }
            }
            return ["path:/\(before)"]
        }
        #expect(
            try await self.attestation(attestor).attest(process).selectors
                == selectors("unix:path:/2")
        )
    }

    @Test("WEP-13: a process that ended is refused, also when it was attested before")
    func dead() async throws {
        let attestation = self.attestation(FakeAttestor { _ in ["uid:1"] })
        let process = FakeProcess()
        _ = try await attestation.attest(process).selectors
        process.alive.withLockedValue { $0 = false }
        await #expect(throws: WorkloadRefusal.attestationFailed) {
            try await attestation.attest(process).selectors
        }
    }

    @Test("WEP-13: another process with the same number gets its own selectors")
    func reusedNumber() async throws {
        let attestor = FakeAttestor { ["start:\($0.startTime)"] }
        let attestation = self.attestation(attestor)
        #expect(
            try await attestation.attest(FakeProcess(startTime: 1)).selectors
                == selectors("unix:start:1"))
        #expect(
            try await attestation.attest(FakeProcess(startTime: 2)).selectors
                == selectors("unix:start:2"))
    }

    @Test("a failed attestor costs its own selectors only, and is asked again")
    func partial() async throws {
        struct Failed: Error {}
        let broken = FakeAttestor("docker") { _ in throw Failed() }
        let attestation = self.attestation(FakeAttestor { _ in ["uid:1"] }, broken)
        let process = FakeProcess()
        #expect(try await attestation.attest(process).selectors == selectors("unix:uid:1"))
        _ = try await attestation.attest(process).selectors
        #expect(broken.calls.withLockedValue { $0 } == 2)
    }

    @Test("TRAP-39: when every attestor fails the caller is refused as unavailable")
    func allFailed() async throws {
        struct Failed: Error {}
        await #expect(throws: WorkloadRefusal.attestationFailed) {
            try await self.attestation(FakeAttestor { _ in throw Failed() }).attest(
                FakeProcess()
            ).selectors
        }
    }
}
