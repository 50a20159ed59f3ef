import NIOConcurrencyHelpers
import NIOCore

/// A stream that may have something to send.
protocol Announced: AnyObject {
    /// Sends it. Called on the stream's event loop.
    func push()
}

/// Streams of one event loop that have news waiting.
///
/// An update that concerns thousands of streams is one task of each event loop and not one of each
/// stream. The loop works it off in portions, so that calls that arrive meanwhile do not wait for the
/// end of it.
final class Announcements: Sendable {
    /// How many streams are served before the loop looks at its sockets again: about a millisecond.
    private static let portion = 32

    private struct Waiting {
        var streams: [NIOLoopBound<any Announced>] = []
        /// The event loop has a task that will look.
        var isScheduled = false
    }

    private let eventLoop: any EventLoop
    private let waiting = NIOLockedValueBox(Waiting())
    /// Taken off `waiting`, last first.
    private let portions: NIOLoopBoundBox<[NIOLoopBound<any Announced>]>

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.portions = NIOLoopBoundBox.makeBoxSendingValue([], eventLoop: eventLoop)
    }

    /// The stream has news. From any thread; never waits for long.
    func add(_ stream: NIOLoopBound<any Announced>) {
        let mustSchedule = self.waiting.withLockedValue { waiting in
            waiting.streams.append(stream)
            defer { waiting.isScheduled = true }
            return !waiting.isScheduled
        }
        if mustSchedule { self.eventLoop.execute { self.work() } }
    }

    private func work() {
        if self.portions.value.isEmpty {
            self.portions.value = self.waiting.withLockedValue { waiting in
                defer { waiting.streams = [] }
                waiting.isScheduled = !waiting.streams.isEmpty
                return waiting.streams
            }.reversed()
        }
        if self.portions.value.isEmpty { return }
        for _ in 0..<min(Self.portion, self.portions.value.count) {
            self.portions.value.removeLast().value.push()
        }
        self.eventLoop.execute { self.work() }
    }
}

/// The ``Announcements`` of every event loop that has had a stream. There are as many as cores.
final class AnnouncementsByLoop: Sendable {
    private let byLoop = NIOLockedValueBox<[ObjectIdentifier: Announcements]>([:])

    func announcements(of eventLoop: any EventLoop) -> Announcements {
        self.byLoop.withLockedValue { byLoop in
            let id = ObjectIdentifier(eventLoop)
            if let known = byLoop[id] { return known }
            let made = Announcements(eventLoop: eventLoop)
            byLoop[id] = made
            return made
        }
    }
}
