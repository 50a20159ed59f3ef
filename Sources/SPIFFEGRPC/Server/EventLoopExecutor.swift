import NIOConcurrencyHelpers
import NIOCore

/// Runs the parts of a task on one event loop, so that a call whose work is short never changes
/// threads between the socket and its handler.
final class EventLoopExecutor: TaskExecutor {
    private static let known = NIOLockedValueBox<[ObjectIdentifier: EventLoopExecutor]>([:])

    private let eventLoop: any EventLoop

    private init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// The executor of an event loop. Kept for ever, as the loops of a server are.
    static func of(_ eventLoop: any EventLoop) -> EventLoopExecutor {
        self.known.withLockedValue { known in
            let id = ObjectIdentifier(eventLoop)
            if let executor = known[id] { return executor }
            let executor = EventLoopExecutor(eventLoop)
            known[id] = executor
            return executor
        }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.eventLoop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
