import Foundation
import NIOConcurrencyHelpers
import NIOCore
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentCore
@testable import AgentEndpoints

/// CRLs that are longer than clients of the Workload API take.
@Suite struct ListRoomTests {
    private static func list(_ count: Int, _ byte: UInt8) -> [UInt8] {
        [UInt8](repeating: byte, count: count)
    }

    @Test func `lists that have no room are left out, the others are not`() throws {
        let leftOut = NIOLockedValueBox<[Int]>([])
        let messages = WorkloadMessages(jwtBundles: JWTBundleCache()) { count in
            leftOut.withLockedValue { $0.append(count) }
        }
        let small = Self.list(1_000, 1)
        let view = BundleView(
            bundles: [], versions: [1], crls: [Self.list(4 << 20, 2), small, Self.list(8 << 20, 3)])
        let framed = try messages.x509Bundles(view)
        #expect(framed.readableBytes <= 5 + ListRoom.longestMessage)
        let bytes = Array(framed.readableBytesView.dropFirst(5))
        #expect(try X509BundlesResponse(serializedBytes: bytes).crl == [Data(small)])
        // Made once, told once.
        _ = try messages.x509Bundles(view)
        #expect(leftOut.withLockedValue { $0 } == [2])
    }

    @Test func `together they have room up to the limit and not a byte more`() throws {
        let half = ListRoom.longestMessage / 2
        let lists = [Self.list(half, 1), Self.list(half - 12, 2)]
        #expect(ListRoom.fitting(lists, beside: X509BundlesResponse()) == lists)
        let message = X509BundlesResponse.with { $0.crl = lists.map { Data($0) } }
        let bytes: [UInt8] = try message.serializedBytes()
        #expect(bytes.count <= ListRoom.longestMessage)
        let longer = [lists[0], lists[1] + [2]]
        #expect(ListRoom.fitting(longer, beside: X509BundlesResponse()) == [lists[0]])
        let beside = X509BundlesResponse.with { $0.bundles = ["spiffe://a.test": Data([1])] }
        #expect(ListRoom.fitting(lists, beside: beside) == [lists[0]])
        #expect(ListRoom.fitting([], beside: beside).isEmpty)
    }
}
