import Testing

@testable import ServiceRuntime

@Suite struct PreferredWaitTests {
    @Test(
        "RFC 7240 §2, §4.3",
        arguments: [
            (["wait=10"], 10), (["wait=0"], 0), (["WAIT = 10"], 10), (["wait=\"10\""], 10),
            (["respond-async, wait=10"], 10), (["respond-async", "wait=10"], 10),
            (["wait=10; foo; some-parameter=3"], 10), (["wait=10, wait=20"], 10),
            (["wait=10", "wait=20"], 10), (["return=\"a, wait=5\", wait=7"], 7),
            (["return=\"a\\\", wait=5\", wait=7"], 7), (["wait=0010"], 10),
            (["wait=99999999999999999999"], Int(Int32.max)), (["wait=4294967296"], Int(Int32.max)),
            ([], nil), ([""], nil), (["wait"], nil), (["wait="], nil), (["wait=-1"], nil),
            (["wait=1.5"], nil), (["wait=ten"], nil), (["wait=1=2"], nil), (["await=10"], nil),
            (["wait =\t10"], 10), (["waits=10"], nil), (["wait=\"10"], nil), (["wait=١٠"], nil),
            // The first counts, whatever it says.
            (["wait=x, wait=20"], nil), ([",,;;==,wait=3"], 3),
        ] as [([String], Int?)])
    func reads(_ values: [String], _ seconds: Int?) {
        #expect(PreferredWait.seconds(values) == seconds)
    }
}
