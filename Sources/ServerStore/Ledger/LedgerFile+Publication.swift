import Dispatch
import NIOConcurrencyHelpers
import Transparency

extension LedgerFile {
    /// Writes what others read: tiles, and a checkpoint of all leaves that are acknowledged now.
    ///
    /// - Throws: ``LedgerStorageError`` when a file cannot be written. Nothing is acknowledged then until it can.
    package func publish() async throws { try await self.onPublisher { try self.publishNow() } }

    /// Publishes all leaves and begins a new journal: the next start has nothing to read back. For the end of a server.
    ///
    /// - Throws: as ``publish()``. Nothing is lost then; the next start takes longer.
    package func settle() async throws {
        try await self.onPublisher {
            try self.publishNow()
            try self.startJournal(ifLongerThan: 0)
        }
    }

    private func onPublisher(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Void, any Error>) in
            self.publisher.async {
                continuation.resume(
                    with: Result {
                        try body()
                        guard !self.core.withLockedValue({ $0.journal.isInDoubt }) else {
                            throw LedgerStorageError(self.health ?? "a write failed")
                        }
                    })
            }
        }
    }

    /// Has leaves published in a while, or at once when there are many.
    func schedulePublication() {
        let isDue: (now: Bool, later: Bool) = self.state.withLockedValue { state in
            let isMuch =
                state.size - min(state.size, state.publishedSize)
                >= UInt64(self.settings.leavesPerPublication)
            switch state.publication {
            case .none:
                state.publication = isMuch ? .now : .later
                return (isMuch, !isMuch)
            case .later where isMuch:
                state.publication = .now
                return (true, false)
            case .later, .now: return (false, false)
            }
        }
        if isDue.now {
            self.publisher.async { self.publishQuietly() }
        } else if isDue.later {
            let delay = self.settings.publicationDelay.dispatchInterval
            self.publisher.asyncAfter(deadline: .now() + delay) { [weak self] in
                self?.publishQuietly()
            }
        }
    }

    /// What fails is told to the next append.
    private func publishQuietly() { try? self.publishNow() }

    private func publishNow() throws {
        self.state.withLockedValue { $0.publication = .none }
        do {
            try self.writePublication()
            try self.startJournal(ifLongerThan: self.settings.journalBytes)
        } catch {
            self.publicationFailed(error)
            throw error
        }
    }

    private func writePublication() throws {
        let generation = self.files.withLockedValue { $0 }
        let publication = self.core.withLockedValue { core in
            core.journal.isInDoubt ? nil : core.journal.publication
        }
        guard let publication else { return }
        let isWritten = try self.files.withLockedValue { current in
            // A recovery has written more than this meanwhile.
            guard current == generation else { return false }
            try self.storage.perform(publication.writes)
            return true
        }
        guard isWritten else { return }
        self.core.withLockedValue { core in
            guard self.files.withLockedValue({ $0 }) == generation else { return }
            core.journal.published(publication)
            self.state.withLockedValue { $0.publishedSize = publication.size }
        }
        self.notePublication()
    }

    private func startJournal(ifLongerThan limit: Int) throws {
        let isLong = self.core.withLockedValue {
            !$0.journal.isInDoubt && $0.journal.writer.journalBytes > limit
        }
        guard isLong else { return }
        // Most of it while leaves are still taken; the rest, which is little, while none are.
        try self.files.withLockedValue { _ in try self.storage.sync() }
        try self.core.withLockedValue { core in
            try self.files.withLockedValue { _ in try core.journal.startJournal() }
            let size = core.journal.size
            self.state.withLockedValue { $0.publishedSize = size }
        }
    }
}

extension LedgerFile {
    /// Reads a file that others may read: `checkpoint` or a tile; nil when there is none.
    ///
    /// - Throws: ``LedgerStorageError``; ``TransparencyError`` `malformedPath` for every other path.
    package func publishedFile(_ path: String, limit: Int) throws -> [UInt8]? {
        if path != LedgerPath.checkpoint { _ = try Tile(path: path) }
        return try self.storage.read(path, limit: limit)
    }
}
