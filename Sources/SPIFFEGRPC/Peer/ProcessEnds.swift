import CPeer
import NIOConcurrencyHelpers
import NIOPosix

/// Tells when processes end: one thread waits for all of them, whose number costs it nothing.
///
/// The thread begins with the first process and stays for as long as the program runs.
final class ProcessEnds: Sendable {
    static let shared = ProcessEnds()

    private struct State {
        /// The descriptor that the thread waits on; nil before the first process, negative where the system
        /// has none.
        var descriptor: CInt?
        var actions: [UInt64: @Sendable () -> Void] = [:]
        var nextKey: UInt64 = 1
    }

    private let state = NIOLockedValueBox(State())
    private let thread = NIOThreadPool(numberOfThreads: 1)

    private init() {}

    /// Runs the action when the process behind the descriptor ends, or has ended.
    ///
    /// - Returns: What to ``forget(_:)`` before the descriptor is closed; nil where the system cannot tell.
    func watch(_ pidfd: CInt, _ action: @escaping @Sendable () -> Void) -> UInt64? {
        let (descriptor, key) = self.state.withLockedValue { state in
            // Entered first: it may end before the next line.
            let key = state.nextKey
            state.nextKey += 1
            state.actions[key] = action
            return (self.begin(&state), key)
        }
        if descriptor >= 0, cygnet_watch_add(descriptor, pidfd, key) == 0 { return key }
        self.forget(key)
        return nil
    }

    /// The action will not begin any more; one that runs already goes on.
    func forget(_ key: UInt64) {
        // Let go of outside the lock: an action may own what forgets, too.
        let action = self.state.withLockedValue { $0.actions.removeValue(forKey: key) }
        _ = action
    }

    private func begin(_ state: inout State) -> CInt {
        if let descriptor = state.descriptor { return descriptor }
        let descriptor = cygnet_watch_make()
        state.descriptor = descriptor
        if descriptor >= 0 {
            self.thread.start()
            // Ends with the program.
            self.thread.submit { _ in self.wait(descriptor) }
        }
        return descriptor
    }

    private func wait(_ descriptor: CInt) {
        var keys = [UInt64](repeating: 0, count: 64)
        while true {
            let count = Int(cygnet_watch_wait(descriptor, &keys, Int32(keys.count)))
            // Never for a descriptor that stays open; without it nobody would be told anything.
            if count < 0 { return }
            for key in keys.prefix(count) {
                let action = self.state.withLockedValue { $0.actions.removeValue(forKey: key) }
                action?()
            }
        }
    }
}
