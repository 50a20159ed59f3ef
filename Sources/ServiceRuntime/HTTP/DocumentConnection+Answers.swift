import NIOCore
import NIOHTTP1
import NIOPosix

// Which answer a request gets, and when its turn is.
extension DocumentConnection {
    private static let mostQueued = 64
    private static let mostQueuedBehindUnsent = 8

    /// Answers a request without a body as soon as those before it have their answers.
    func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        // It may be long, and this answer comes behind it.
        self.endWaiting(context)
        guard !self.isBusy else {
            self.queued.append(head)
            let most = self.unsent == nil ? Self.mostQueued : Self.mostQueuedBehindUnsent
            if self.queued.count > most { self.end(context) }
            return
        }
        self.respond(to: head, context)
    }

    private func respond(to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard self.isReady(context) else { return }
        guard let request = DocumentRequest(head, client: self.client) else {
            return self.refuse(.refusal(400, "a request names a path and one host"), context)
        }
        guard let response = self.routes(request) else {
            if head.method == .GET || head.method == .HEAD, let work = self.slowRoutes?(request) {
                return self.make(by: work, head, request, context)
            }
            return self.refuse(.refusal(404, "there is nothing here"), context, head.method)
        }
        guard head.method == .GET || head.method == .HEAD else {
            return self.refuse(
                .refusal(405, "use GET", fields: [("allow", "GET, HEAD")]), context)
        }
        guard let seconds = self.wait(request, response) else {
            return self.send(response, to: head, request, appliedWait: nil, context)
        }
        guard seconds > 0, response.entityTag.map(request.has) == true else {
            return self.send(response, to: head, request, appliedWait: seconds, context)
        }
        if !self.hold(request, head, seconds, context) {
            self.send(response, to: head, request, appliedWait: nil, context)
        }
    }

    /// Ends a wait, and says whether a further answer can be sent.
    private func isReady(_ context: ChannelHandlerContext) -> Bool {
        self.endWaiting(context)
        guard !self.isClosing else { return false }
        if !context.channel.isWritable {
            // Many answers at once: the kernel may still take them. If not, somebody asks on without reading.
            self.flush(context)
            guard context.channel.isWritable else {
                self.end(context)
                return false
            }
        }
        return true
    }

    /// Answers a request whose body has come.
    func answer(_ upload: DocumentUpload, _ context: ChannelHandlerContext) {
        // Who sends the next before it has the answer to the one before gets neither (RFC 9112 §9.3.2).
        self.endWaiting(context)
        guard !self.isBusy else { return self.end(context) }
        guard self.isReady(context) else { return }
        let (answer, body) = (upload.post.answer, upload.body)
        self.make(by: { answer(body) }, upload.head, upload.request, context)
    }

    /// Has the answer made on another thread, and takes the requests that came meanwhile afterwards.
    private func make(
        by work: @escaping @Sendable () -> DocumentResponse?, _ head: HTTPRequestHead,
        _ request: DocumentRequest, _ context: ChannelHandlerContext
    ) {
        self.isAnswering = true
        NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop, work)
            .assumeIsolated().whenComplete { result in
                self.isAnswering = false
                guard !self.isClosing, let context = self.context else { return }
                if case .success(let response?) = result {
                    self.send(response, to: head, request, appliedWait: nil, context)
                } else {
                    self.refuse(.refusal(404, "there is nothing here"), context, head.method)
                }
                self.takeQueued(context)
                self.flush(context)
            }
    }

    /// Answers the requests that had to wait for an answer before theirs.
    func takeQueued(_ context: ChannelHandlerContext) {
        while !self.isClosing, !self.isAnswering, self.unsent == nil, !self.queued.isEmpty,
            context.channel.isWritable
        {
            self.respond(to: self.queued.removeFirst(), context)
        }
    }

    func send(
        _ response: DocumentResponse, to head: HTTPRequestHead, _ request: DocumentRequest,
        appliedWait: Int?, _ context: ChannelHandlerContext
    ) {
        // A protocol that somebody wants to change to is not spoken here, and what follows is not understood.
        let closes =
            response.status >= 400 || head.version != .http1_1 || !head.isKeepAlive
            || !self.limits.keepsConnections || head.headers.contains(name: "upgrade")
            || context.eventLoop.now >= self.endOfLife
        self.send(
            response, isUnchanged: response.entityTag.map(request.has) ?? false,
            withBody: head.method != .HEAD, appliedWait: appliedWait, closes: closes, context)
    }
}
