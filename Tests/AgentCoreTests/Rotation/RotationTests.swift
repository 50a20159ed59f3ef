import Foundation
import Testing

@testable import AgentCore

@Suite("Rotation and back-off")
struct RotationTests {
    @Test(
        "half life, a tenth of it either way", arguments: [(0.0, 1620.0), (0.5, 1800), (1, 1980)])
    func halfLife(jitter: Double, seconds: Double) {
        let start = Date(timeIntervalSince1970: 0)
        let date = RotationPolicy().rotationDate(
            notBefore: start, notAfter: start + 3600, jitter: jitter)
        #expect(abs(date.timeIntervalSince(start) - seconds) < 0.001)
    }

    @Test("an availability target counts from the end, if it leaves twelve hours")
    func availability() {
        let policy = RotationPolicy(availabilityTarget: .seconds(86_400))
        let start = Date(timeIntervalSince1970: 0)
        #expect(
            policy.rotationDate(notBefore: start, notAfter: start + 172_800, jitter: 0)
                == start + 86_400)
        #expect(
            policy.rotationDate(notBefore: start, notAfter: start + 100_000, jitter: 0.5)
                == start + 50_000)
    }

    @Test("waits double up to the longest and start over after a success")
    func backOff() {
        var backOff = BackOff(first: .seconds(1), longest: .seconds(8))
        let waits = (0..<6).map { _ in backOff.next(jitter: 1) }
        #expect(
            waits == [.seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(8), .seconds(8)])
        #expect(backOff.next(jitter: 0) == .seconds(4))
        backOff.reset()
        #expect(backOff.next(jitter: 1) == .seconds(1))
    }

    @Test("deadlines come out in order")
    func deadlines() {
        var queue = DeadlineQueue<Int>()
        let start = Date(timeIntervalSince1970: 0)
        for value in [5, 3, 9, 1, 7, 2, 8, 6, 4, 0] { queue.add(value, at: start + Double(value)) }
        #expect(queue.next == start)
        var taken: [Int] = []
        while let item = queue.takeDue(start + 5) { taken.append(item) }
        #expect(taken == [0, 1, 2, 3, 4, 5])
        #expect(queue.count == 4)
    }
}
