import NIOCore
import NIOHTTP1

// The request that prefers to wait for another document.
extension DocumentConnection {
    /// A request whose answer is held back.
    struct WaitingRequest {
        let request: DocumentRequest
        let head: HTTPRequestHead
        let seconds: Int
        let place: DocumentWaits.Place
        let timer: Scheduled<Void>
    }

    /// For how many seconds the answer may be held back; nil when the client does not ask for it, or nobody may wait.
    func wait(_ request: DocumentRequest, _ response: DocumentResponse) -> Int? {
        guard let preferred = request.preferredWait, self.waits != nil, response.entityTag != nil
        else { return nil }
        return min(preferred, Int(self.limits.maximumWait.components.seconds))
    }

    /// Holds the answer back until the document is another one; false when there is no place.
    func hold(
        _ request: DocumentRequest, _ head: HTTPRequestHead, _ seconds: Int,
        _ context: ChannelHandlerContext
    ) -> Bool {
        let loop = context.eventLoop
        let this = NIOLoopBound(self, eventLoop: loop)
        let place = self.waits?.enter(self.client, self.limits) { call in
            loop.execute { this.value.called(call) }
        }
        guard let place else { return false }
        let timer = loop.assumeIsolated().scheduleTask(in: .seconds(Int64(seconds))) {
            self.endWaiting(context)
        }
        self.waiting = WaitingRequest(
            request: request, head: head, seconds: seconds, place: place, timer: timer)
        self.deadline = loop.now + .seconds(Int64(seconds)) + TimeAmount(self.limits.idleTimeout)
        // The document may have changed before the place was taken.
        self.called(.changed)
        return true
    }

    private func called(_ call: DocumentWaits.Call) {
        guard let waiting = self.waiting, let context = self.context else { return }
        switch call {
        case .ending: self.endWaiting(context, closes: true)
        case .changed:
            let tag = self.routes(waiting.request)?.entityTag
            // What is there no more, or not yet again, is no news.
            if let tag, !waiting.request.has(tag) { self.endWaiting(context) }
        }
    }

    /// Takes the waiting request off its place, if there is one.
    func takeWaiting() -> WaitingRequest? {
        guard let waiting = self.waiting else { return nil }
        self.waiting = nil
        waiting.timer.cancel()
        self.waits?.leave(waiting.place)
        return waiting
    }

    /// Answers the request that waits, if there is one.
    func endWaiting(_ context: ChannelHandlerContext, closes: Bool = false) {
        guard let waiting = self.takeWaiting(), !self.isClosing else { return }
        if self.isIdle {
            self.deadline = context.eventLoop.now + TimeAmount(self.limits.idleTimeout)
        }
        guard let response = self.routes(waiting.request) else {
            return self.refuse(
                .refusal(404, "there is nothing here"), context, waiting.head.method)
        }
        if closes { self.endOfLife = context.eventLoop.now }
        self.send(
            response, to: waiting.head, waiting.request, appliedWait: waiting.seconds, context)
        self.flush(context)
    }
}
