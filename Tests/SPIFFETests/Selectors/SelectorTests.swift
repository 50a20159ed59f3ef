import SPIFFE
import Testing

@Suite struct SelectorTests {
    @Test func `a selector is split at its first colon`() throws {
        let selector = try Selector("unix:path:/usr/bin/env")
        #expect(selector.type == "unix")
        #expect(selector.value == "path:/usr/bin/env")
        #expect(selector.description == "unix:path:/usr/bin/env")
    }

    @Test(arguments: ["", "unix", ":uid:1", "unix:", "un\0ix:a", "unix:a\0b"])
    func `what is no selector is refused`(text: String) {
        #expect(throws: SelectorError.self) { try Selector(text) }
    }

    @Test func `two values that only look alike are different selectors`() throws {
        // The same letter, as one code point and as two: equal for Unicode, two files for the kernel.
        let composed = try Selector("unix:path:/bin/caf\u{E9}")
        let decomposed = try Selector("unix:path:/bin/cafe\u{301}")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
        #expect((composed < decomposed) != (decomposed < composed))
    }

    @Test func `equal selectors hash alike and sort by bytes`() throws {
        let one = try Selector("unix:uid:1")
        #expect(Set([one, try Selector(type: "unix", value: "uid:1")]).count == 1)
        let sorted = [try Selector("unix:b"), try Selector("docker:z"), try Selector("unix:a")]
            .sorted()
        #expect(sorted.map(\.description) == ["docker:z", "unix:a", "unix:b"])
    }
}
