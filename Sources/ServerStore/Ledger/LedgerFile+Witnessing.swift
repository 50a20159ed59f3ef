import Dispatch
import NIOConcurrencyHelpers
import ServerCore
package import Transparency

extension LedgerFile: WitnessedLog {
    package func read(_ path: String, limit: Int) async throws -> [UInt8]? {
        try self.publishedFile(path, limit: limit)
    }

    package func publications() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = self.state.withLockedValue { state in
            state.lastListener += 1
            state.listeners[state.lastListener] = continuation
            return state.lastListener
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLockedValue { _ = $0.listeners.removeValue(forKey: number) }
        }
        continuation.yield()
        return stream
    }

    /// Tells those who follow publications.
    func notePublication() {
        let listeners = self.state.withLockedValue { Array($0.listeners.values) }
        for listener in listeners { listener.yield() }
    }

    /// A failure is that of the cosignatures alone: old and new file have the same checkpoint, so nothing is in doubt.
    package func add(
        _ cosignatures: [NoteSignature], to checkpoint: SignedNote
    ) async throws -> Bool {
        try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Bool, any Error>) in
            self.publisher.async {
                continuation.resume(
                    with: Result { try self.addNow(cosignatures, to: checkpoint) })
            }
        }
    }

    private func addNow(_ cosignatures: [NoteSignature], to checkpoint: SignedNote) throws -> Bool {
        let whole: SignedNote? = try self.files.withLockedValue { _ in
            guard
                let bytes = try self.storage.read(
                    LedgerPath.checkpoint, limit: SignedNote.maximumBytes)
            else { return nil }
            let published = try SignedNote(parsing: bytes)
            guard published.text == checkpoint.text else { return nil }
            let kept = published.signatures.filter { old in
                !cosignatures.contains { $0.name == old.name && $0.keyID == old.keyID }
            }
            let whole = try SignedNote(text: published.text, signatures: kept + cosignatures)
            try self.storage.replace(LedgerPath.checkpoint, with: whole.bytes, isDurable: true)
            return whole
        }
        guard let whole else { return false }
        // Where it is still the last checkpoint, the next journal begins with the cosignatures too.
        try self.core.withLockedValue { try $0.journal.cosigned(whole) }
        return true
    }
}
