import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFETesting
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import SPIFFEWorkloadAPI

private typealias Response = Cygnet_Workload_V1_FetchRevocationsResponse

/// Messages of which something is wrong, behind a good first part.
private struct BadPart: Sendable, CustomTestStringConvertible {
    let name: String
    let message: Response
    var testDescription: String { self.name }

    static let all = [
        BadPart(name: "empty last part", message: Response()),
        BadPart(name: "empty part", message: .with { $0.more = true }),
        BadPart(
            name: "another state",
            message: .with { $0.trustDomains = [.with { $0.trustDomain = "acme.test" }] }),
        BadPart(
            name: "state and part",
            message: .with {
                $0.trustDomains = [.with { $0.trustDomain = "acme.test" }]
                $0.part = Data([1])
            }),
        // A field of length 100 that ends here.
        BadPart(name: "not a message in the end", message: .with { $0.part = Data([0x0A, 100]) }),
    ]
}

@Suite("States of revocations that come in parts", .timeLimit(.minutes(1)))
struct JoinedRevocationsTests {
    private let state = Response.with {
        $0.trustDomains = [
            .with {
                $0.trustDomain = "acme.test"
                $0.crls = [Data(repeating: 7, count: 100)]
            }
        ]
    }

    private func parts(_ state: Response, of length: Int) throws -> [Response] {
        let bytes: [UInt8] = try state.serializedBytes()
        return stride(from: 0, to: bytes.count, by: length).map { start in
            .with {
                $0.part = Data(bytes[start..<min(start + length, bytes.count)])
                $0.more = start + length < bytes.count
            }
        }
    }

    @Test(
        "a state is whole with its last part; one message is a state, as of agents that know no parts"
    )
    func whole() throws {
        for length in [1, 10, 1_000] {
            var joined = JoinedRevocations(maximumBytes: 1_000)
            for _ in 0..<2 {
                let parts = try self.parts(self.state, of: length)
                for part in parts.dropLast() { #expect(try joined.add(part) == nil) }
                #expect(try joined.add(try #require(parts.last)) == self.state)
                #expect(try joined.add(self.state) == self.state)
                #expect(try joined.add(Response()) == Response(), "nothing is known")
            }
        }
    }

    @Test(
        "exactly as long as allowed; one byte more is refused once, and the next state counts again"
    )
    func bound() throws {
        let length = try (self.state.serializedBytes() as [UInt8]).count
        for maximum in [length, length - 1] {
            var joined = JoinedRevocations(maximumBytes: maximum)
            var errors: [WorkloadAPIError] = []
            var states: [Response] = []
            // Parts of 10 bytes, and more behind the one that is too much.
            for part in try self.parts(self.state, of: 10) + [self.state] {
                do throws(WorkloadAPIError) {
                    if let state = try joined.add(part) { states.append(state) }
                } catch {
                    errors.append(error)
                }
            }
            let fits = maximum == length
            #expect(errors.map(\.code) == (fits ? [] : [.invalidResponse]))
            #expect(states.count == (fits ? 2 : 1))
        }
        var joined = JoinedRevocations(maximumBytes: 15)
        var errors = 0
        for part in try self.parts(self.state, of: 10) {
            do { #expect(try joined.add(part) == nil) } catch { errors += 1 }
        }
        #expect(errors == 1, "once for a state, however many parts follow")
        #expect(try joined.add(self.state) == self.state)
    }

    @Test("what breaks the rules makes no state, least of all an empty one", arguments: BadPart.all)
    private func bad(bad: BadPart) throws {
        var joined = JoinedRevocations(maximumBytes: 1_000)
        #expect(
            try joined.add(
                .with {
                    $0.part = Data([0x0A, 50])
                    $0.more = true
                }) == nil)
        let error = #expect(throws: WorkloadAPIError.self) { try joined.add(bad.message) }
        #expect(error?.code == .invalidResponse)
        if bad.message.more { #expect(try joined.add(.with { $0.part = Data([1]) }) == nil) }
        #expect(try joined.add(self.state) == self.state)
    }

    @Test("parts of parts are none")
    func nested() throws {
        var joined = JoinedRevocations(maximumBytes: 1_000)
        let inner: [UInt8] = try Response.with { $0.part = Data([1]) }.serializedBytes()
        #expect(throws: WorkloadAPIError.self) {
            try joined.add(.with { $0.part = Data(inner) })
        }
    }

    // MARK: On a stream

    @Test("a stream that breaks between two parts changes nothing; the next one begins anew")
    func breaks() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        let crl = try authority.certificateRevocationList()
        let state = Response.with {
            $0.trustDomains = [
                .with {
                    $0.trustDomain = "acme.test"
                    $0.crls = [Data(crl)]
                }
            ]
        }
        let parts = try self.parts(state, of: 1_000)
        let longer = try self.parts(
            .with {
                $0.trustDomains = [
                    .with {
                        $0.trustDomain = "acme.test"
                        $0.crls = [Data(repeating: 1, count: 1_500)]
                    }
                ]
            }, of: 1_000)
        let last = Response.with {
            $0.trustDomains = [
                .with {
                    $0.trustDomain = "acme.test"
                    $0.revokedTokens = [Data(repeating: 1, count: 32)]
                }
            ]
        }
        fake.send(try #require(parts.first))
        let updates = AsyncStream.makeStream(of: [TrustDomain: ReceivedRevocations].self)
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                await withTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try? await client.watchRevocations(
                            onUpdate: { updates.continuation.yield($0) }, onError: { _ in })
                    }
                    var told = updates.stream.makeAsyncIterator()
                    let first = await told.next()
                    #expect(first?[authority.trustDomain]?.certificateLists == [crl])
                    fake.send(longer[0])
                    fake.fail(.fetchRevocations, with: .unavailable)
                    // Behind the part of before it would be no state.
                    fake.send(last)
                    fake.recover(.fetchRevocations)
                    let second = await told.next()
                    #expect(second?[authority.trustDomain]?.certificateLists == [])
                    #expect(second?[authority.trustDomain]?.revokedTokens.count == 1)
                    group.cancelAll()
                }
            }
        }
    }
}
