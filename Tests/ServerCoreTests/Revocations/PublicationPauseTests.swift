import Testing

@testable import ServerCore

@Suite struct PublicationPauseTests {
    @Test func `changes that keep coming are published ever more seldom, until they stop`() {
        var pause = PublicationPause(shortest: .milliseconds(20), longest: .milliseconds(100))
        var pauses: [Duration] = []
        for idle in [5_000, 0, 0, 0, 30, 100, 19, 20, 39] {
            pauses.append(pause.next(idle: .milliseconds(idle)))
        }
        #expect(
            pauses == [20, 40, 80, 100, 100, 20, 40, 80, 100].map { Duration.milliseconds($0) })
    }

    @Test func `the longest pause is never shorter than the shortest`() {
        var pause = PublicationPause(shortest: .seconds(2), longest: .seconds(1))
        #expect(pause.next(idle: .zero) == .seconds(2))
    }
}
