/// Public keys made with `openssl genrsa N | openssl rsa -pubout -outform DER | base64` and the like.
enum PublicKeyVectors {
    static let rsa1024 = """
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC5YFJpL4gEpTvb1Uv7E9EAYcubCZX9WXBKgpV1sHSU\
        Ll3ej0cwxQW0jmL0DKlg3awhJdr4tEqnjIrZfR4DnZJUZJjxzCDL8+iidjS62HbZracAvhNRDtNLh4cB\
        MmYGq4/LV+PMxBNZN5ZiDPq8K3qq3Vviz8nfxSJnhvEvFe/2dQIDAQAB
        """
    static let rsa2040 = """
        MIIBITANBgkqhkiG9w0BAQEFAAOCAQ4AMIIBCQKCAQAAuW1pkpSvrSPSIdvG7qXTKSCx590+iKAUU7Ab\
        cGLgYVuQS/GU7/+iEPdRLdmQUjeXgYp9nHe/Aqsu7RFgDuBwvtOtY3tguav74VYM9ZkO8fa1mz43vY9o\
        6AOUGENzqpBym/Q9gGX0znKq1QLnAkTrgoA0baet0XRzFjyg1HedGGd94tXBX2W7DhmB2HKQGhzmvpGz\
        mNj5tSeKg4HsoRxdJFCrehdV0OzV0+5rYK3JByZYXJi6A2Ju4J8gr7Bk/6BmszUEXUeZM8ihML4lgg7U\
        Ut0KFFrmucgtaaR4gsChe79OCvz/y/mjH90vT8dhamUKg7XjVlOi/YjhTdjhB8KzAgMBAAE=
        """
    static let rsa2048 = """
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAhnsI+4XPosfqDfu2EEJA3QvB/sdoPgsj/HiE\
        4uM8a12TUR/8+kG2wUfK1J2d45/hnuXpuqDKCCReNLGoEP11hF6unUA2xGb5FPcOlIl15FhXDaxe56tJ\
        gpceuo+uN+0L3HFqbcxBh2J8AgKmzKB9KiuZtvJigWMZKgs0zNfcDqbmL0MiKQZDRrl8z3EYzc5wLIgr\
        EQRZz+8/WBoFQW1E7+i4DXaK2P5JgK8vAoUGAQ2C2bmEA2KuCh2GYlJGiDzMgKYw1pUNQjL1J54CVsL9\
        ttnGpgFDgToWI+UUlBvfTnuw19oVviTet/6cGO9D+MfzZyTRRogcjng+eoDG9oU9KQIDAQAB
        """
    static let rsa4096 = """
        MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAlOq+yz7kt3e05juPXiArxo0sX1laX3uyBJqL\
        PjiwGyzxBQvC72oCsA+pSV9HtgWpUUG3aX7mFfn/3/ZgBpJVCKXsZK8sw1AhYShw9JmNtLMzz/h7mYN0\
        bUsQcjm5jE+UQfKKKzQ+sKD4ShBpSpAEg/PpHctY8qqWHmmuW4tQLatsElpcWGPtBI7LemEPX1ACOoRF\
        P+oIV2Jke3I4Cm7a9PmWhW+Za4Rq2Qli9eyITwee+giGQyqFFBKtFt9RyNgwEziR9XNKgf36RM/xDqw8\
        eIqH3dUj+HeaAaPdh5E30eimrXFQHtwxzG9muqI0hX6B9Q5+pZ2Z8AjgZqL+cofsVvmB9jZhhuy7bj0J\
        C+97JuNHHaS3nd88MZy2YotfCfGJhSDFoTq6ggxylfZDXq89ydnAT0Kowx4G72mvB9VSskguDupUfeSD\
        VcS200aMdVeZCYdpUXaXJTb/f9gyjUykNzFVOFw/R0fEEiNvzurjCcMwCfGYYSzGK6xjwUtnzgzzp3E8\
        hRi/hPv4Puh6Hj+VyWNFW2kp0a6+VaFtk+KRmDedAa4BcPXWUyjFHbZ9Rs3HTBl78MsgWTTBVmv9ZrO9\
        0sy/WdIeSLyklja6f5MkPeuibcnXeBIG8dKwXvzb8jZL62Ym1h9zhJGJDS3wBSApl4GJrkAeXkNv3N47\
        IksKO/UCAwEAAQ==
        """
    static let rsa4104 = """
        MIICIzANBgkqhkiG9w0BAQEFAAOCAhAAMIICCwKCAgIAoTj4KEy7vs4rbrVpY/a6ARpn416jmz0EaheX\
        MMPutaR+3Vk219zaadcyGp6kY1yFoomz9m/qMuC4dVDHYd6c46DWM9sG/5AZ8y+sfnRenWnRKWN5OJgJ\
        I0C+uYN1iFWew3fnO7qij/yWjriYty4LyYGOf4UvThbqDm/nKOfSuuq1hGDUGqP9iPEFVX41/6AHl61R\
        DZHQtkKt5mITMjpsM/xIgQdxGZ7qGu6ijUMwyPWGOM4IhcpA1NOOzuZNaLnAu6zrn+XUoWRugXOOlgqk\
        NjeKnGXVY8un9QOWXBcqqz1fhXGxuNcD17A2YSmGixRrysCak89MwulupNvkfxjc6rNK0T1R6mt4YaOE\
        ZYOMM/4LWHWXwFYfhpZmWc6uq1/ykNnFuYogrfxD47YAHlVz/aOTM9pexEJEvxetQFkRrhhNLkMjMhPF\
        GHkvWXJduZ4bfdTXUrDXywQ7zbnDYA0VRt3d5SuaUC+h64RHrOjp852trnOC0jM5GtmC+Gc+PjB8bDOW\
        grU8WqsMZ536Ux+CEaWHrCjnreT2piUldbFnx4+INMZPrtmmTUnlAj4yVUArvEjxOxQQlgCrVMyoO0J/\
        0B6uNbrzpOezguk99BWioNJeanl+qk9nfLOyctD6xgiBZLqZ3+hh3uhRQ+IQ13Qnk5OBKtWjuPUbmzpM\
        NNMdiS+rAgMBAAE=
        """
    static let ed448 = """
        MEMwBQYDK2VxAzoA0bHeK6qAA3Z1szJkR5h/xK5zz9vAWglSGTBeeMAZtHc3ZRiKPyJJrRPjwfIJxmDJ\
        kwlBviktk9SA
        """
    static let secp256k1 = """
        MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEDKCCk6jFHiZJx6A7QaXAwHknSnWVsDEH+FM0vZXY7yyK/w3a\
        ZcnR1a83z+tnq1KeELg3NCYZ2BmO0H7hTeU5Ow==
        """
}
