import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFEGRPC
import Testing

@testable import AgentEndpoints

@Suite("Processes that brokers refer to", .timeLimit(.minutes(1)))
struct ReferencedProcessesTests {
    @Test("BRK-07: calls about one process share one hold on it, and the last one lets go")
    func shared() throws {
        let processes = ReferencedProcesses()
        let child = try Child()
        do {
            let first = try processes.process(child.pid)
            let second = try processes.process(child.pid)
            #expect(first === second && processes.count == 1)
        }
        #expect(processes.count == 0)
    }

    @Test("BRK-11, BRK-32: a PID that nobody has, has had, or that is a thread's is NOT_FOUND")
    func notFound() throws {
        let processes = ReferencedProcesses()
        let child = try Child()
        child.end()
        for pid in [child.pid, Int32.max] {
            let error = #expect(throws: BrokerRefusal.self) { try processes.process(pid) }
            #expect(error?.code == .notFound && error?.reason == .notFound && error?.pid == pid)
        }
        #expect(processes.count == 0)
    }

    @Test("the agent's own PID is refused: it is no workload")
    func agentItself() {
        let error = #expect(throws: BrokerRefusal.self) {
            try ReferencedProcesses().process(getpid())
        }
        #expect(error?.code == .permissionDenied && error?.reason == .notEntitled)
    }

    @Test("BRK-36: the end of a process is told to everybody who waits for it, and once")
    func end() async throws {
        let processes = ReferencedProcesses()
        let child = try Child()
        let process = try processes.process(child.pid)
        let (stream, continuation) = AsyncStream.makeStream(of: Int.self)
        for number in 1...3 {
            #expect(process.whenEnded { continuation.yield(number) } != nil)
        }
        let forgotten = try #require(process.whenEnded { continuation.yield(4) })
        process.forget(forgotten)
        child.end()
        var told: Set<Int> = []
        for await number in stream {
            told.insert(number)
            if told.count == 3 { break }
        }
        #expect(told == [1, 2, 3])
        #expect(process.whenEnded {} == nil)
        #expect(!process.handle.isAlive)
    }

    @Test("BRK-07: a hold on a process that has ended is not given out for its number")
    func reuse() throws {
        let processes = ReferencedProcesses()
        let child = try Child()
        let process = try processes.process(child.pid)
        child.end()
        #expect(throws: BrokerRefusal.self) { try processes.process(child.pid) }
        // Numbers come round in their own time: what counts is that the old hold names the old process for good.
        #expect(!process.handle.isAlive && process.handle.pid == child.pid)
        let error = #expect(throws: BrokerRefusal.self) { try ReferencedWorkload(process) }
        #expect(error?.reason == .notFound)
    }

    @Test("the watch over processes costs no thread for each: a thousand ends are all told")
    func many() async throws {
        let child = try Child()
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        var handles: [PeerProcessHandle] = []
        for _ in 0..<1000 {
            let handle = try PeerProcessHandle(socketDescriptor: nil, pid: child.pid)
            try #require(handle.whenEnded { continuation.yield() })
            handles.append(handle)
        }
        child.end()
        var told = 0
        for await _ in stream {
            told += 1
            if told == handles.count { break }
        }
        #expect(told == 1000)
    }
}
