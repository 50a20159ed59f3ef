/// How long to rest behind a publication: twice as long each time as long as changes keep coming, and at first but a
/// moment.
///
/// What operators take back is published at once in any case. The bound is for what workloads cause by coming and
/// going: without it each end of a process would be a list that is signed and sent to every agent.
struct PublicationPause: Sendable {
    private let shortest: Duration
    private let longest: Duration
    private var pause: Duration

    init(shortest: Duration, longest: Duration) {
        self.shortest = shortest
        self.longest = max(shortest, longest)
        self.pause = shortest
    }

    /// The rest behind a publication that is about to be made.
    ///
    /// - Parameter idle: How long nothing had changed since the last rest was over.
    mutating func next(idle: Duration) -> Duration {
        self.pause = idle < self.pause ? min(self.pause * 2, self.longest) : self.shortest
        return self.pause
    }
}
